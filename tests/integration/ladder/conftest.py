"""A till that is paired with a box, and looks for it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.domain.pairing import Invitation
from tests.fakes.clock import FakeClock
from tests.fakes.paired_boxes import PairedBox
from tests.fakes.till_peers import CLOUD_TOKEN
from tests.fakes.tills import Told
from till.identity import Pairing, TillKeys
from till.options import Options
from till.pairing import pair_by_code
from till.peer import open_session
from till.proof import Met
from till.whereabouts import PLACES_FILE, open_whereabouts

LOOPBACK = ["127.0.0.1"]
# Not ours: nothing is heard there, and at once.
NOWHERE = ["192.0.2.1"]


class Till:
    """One state directory, opened anew for each look, as by one command after the other."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.told = Told()

    async def pair(self, box: PairedBox, invitation: Invitation | None = None) -> Pairing:
        keys = TillKeys(self.state)
        await asyncio.to_thread(keys.load)
        async with open_session(None) as session:
            return await pair_by_code(
                session, keys, invitation or box.invitation(box.place), "till-1", interfaces=NOWHERE
            )

    async def find(
        self, last: str | None = None, *, interfaces: Sequence[str] = NOWHERE, given: str | None = None
    ) -> Met | None:
        """Climb the ladder once."""
        options = Options(
            state=self.state,
            till_id="till-1",
            cloud_token=CLOUD_TOKEN,
            box_url=given,
            interfaces=interfaces,
            lang="en",
        )
        async with open_whereabouts(options, self.told.append, FakeClock()) as here:
            met = await here.places.find(last, here.prove)
            self.rung = None if here.ladder is None or met is None else here.ladder.found_by
            return met

    async def pairing(self) -> Pairing:
        """As it is on disk."""
        keys = TillKeys(self.state)
        await asyncio.to_thread(keys.load)
        return keys.paired

    def knows(self, *urls: str) -> None:
        """The box was there before."""
        (self.state / PLACES_FILE).write_text(json.dumps(urls))


@pytest.fixture
def till(tmp_path: Path) -> Till:
    return Till(tmp_path)
