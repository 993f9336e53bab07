"""Carry each change of the line to those who must know: the tills at once, the chain for ever."""

import logging

from appliance.domain.errors import CannotAccept
from appliance.domain.link import Link
from appliance.services.feed import Feed
from appliance.services.ports import Recorder
from appliance.services.wan import WanWatch

log = logging.getLogger(__name__)


class ModeTeller:
    """Tills hear of a change at once; the chain keeps each change of the proposed mode with its cause."""

    def __init__(self, wan: WanWatch, feed: Feed, recorder: Recorder) -> None:
        self._wan = wan
        self._feed = feed
        self._recorder = recorder
        self._mode = wan.link.mode
        wan.listen(self._tell)
        self._tell(wan.link)

    async def run(self) -> None:
        """Record changes for ever; one that comes and goes while the disk is busy is no change."""
        while True:
            link = await self._wan.changed()
            if link.mode == self._mode:
                continue
            self._mode = link.mode
            try:
                data = {"mode": link.mode, "link": link.state.value, "cause": link.cause.value}
                await self._recorder.record("mode_changed", data)
            except CannotAccept as error:
                # A storage fault is told on every surface already; the line's state lives on without its record.
                log.error("mode.unrecorded", extra={"why": str(error)})

    def _tell(self, _: Link) -> None:
        self._feed.publish("mode", self._wan.mode_view())
