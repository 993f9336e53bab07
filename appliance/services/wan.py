"""Watch the line to the cloud: probe it when nothing else tells of it, and tell listeners what it is like.

Every request to the cloud is a sample: the gateway reports it here, the probe's own request too. So a probe is only
the request that is made when there is none to make.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from appliance.domain.errors import CloudError
from appliance.domain.link import Cause, Link, Sample, next_probe_s, observe
from appliance.domain.wire import ModeView
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.pause import pause

log = logging.getLogger(__name__)

Listener = Callable[[Link], None]
Probe = Callable[[], Awaitable[None]]


class WanWatch:
    """What is known of the line, and the loop that keeps knowing it. `link` is the present state."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self.link = Link(since_s=clock.monotonic())
        self._changed_at = clock.wall()
        self._change = asyncio.Event()
        self._listeners: list[Listener] = []
        self._due_s = clock.monotonic()
        self._sooner = asyncio.Event()
        self._probing = asyncio.Lock()
        self._probes = 0

    def observe(self, cause: Cause, took_s: float, *, bulk: bool = False) -> None:
        """One request to the cloud has ended: OK or why not, and how long it took.

        `bulk` marks a transfer so large that its time says nothing about the line.
        """
        sample = Sample(self._clock.monotonic(), cause, took_s, bulk)
        before, self.link = self.link, observe(self.link, sample)
        if self.link is before:
            return
        # While slow or lossy only probes show whether that has ended: other requests do not put them off.
        if self.link.online or self.link.half_open or not sample.ok:
            self._schedule()
        if _seen(before) != _seen(self.link):
            self._tell()

    def listen(self, listener: Listener) -> None:
        """Call `listener` at each change of state, cause or mode, right where it is noticed; it must not wait."""
        self._listeners.append(listener)

    async def changed(self) -> Link:
        """Wait for the next change of state, cause or mode."""
        await self._change.wait()
        return self.link

    def mode_view(self) -> ModeView:
        """What tills are proposed, and why."""
        link = self.link
        return ModeView(link.mode, link.state.value, link.cause.value, rfc3339(self._changed_at))

    async def run(self, probe: Probe) -> None:
        """Probe for ever: every 5 s, sooner after a failure."""
        while True:
            await self.step(probe)
            while (wait_s := self._due_s - self._clock.monotonic()) > 0:
                await pause(self._clock, wait_s, self._sooner)

    async def step(self, probe: Probe) -> None:
        """One probe, unless a request just showed that the line is up; whoever asks meanwhile shares its outcome.

        `probe` reports itself through `observe`, as every request does.
        """
        asked = self._probes
        async with self._probing:
            if self._probes != asked or self._just_worked():
                return
            try:
                await probe()
            except CloudError as error:
                log.debug("wan.probe_failed", extra={"code": error.code, "why": str(error)})
            self._probes += 1
            self._schedule()

    def _just_worked(self) -> bool:
        link = self.link
        return link.online and not link.failures and self._clock.monotonic() < self._due_s

    def _schedule(self) -> None:
        now_s = self._clock.monotonic()
        due_s = now_s + next_probe_s(self.link, now_s, self._rng.uniform(-1.0, 1.0))
        if due_s < self._due_s:
            self._sooner.set()
        self._due_s = due_s

    def _tell(self) -> None:
        self._changed_at = self._clock.wall()
        state, cause, mode = _seen(self.link)
        log.info("wan.changed", extra={"link": state, "cause": cause, "mode": mode})
        change, self._change = self._change, asyncio.Event()
        change.set()
        for listener in self._listeners:
            listener(self.link)


def _seen(link: Link) -> tuple[str, ...]:
    return (link.state, link.cause, link.mode)
