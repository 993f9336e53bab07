"""What the drain makes of an answer: a receipt must be signed for this request and cover all that was sent."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import CloudUnreachable
from appliance.domain.event import Sealed
from appliance.domain.wire import SyncedView
from appliance.services.drain import DrainStopped
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import a_note
from tests.integration.drain.world import a_world, draining


class ForgingCloud(FakeCloud):
    """Signs with a key that the box does not know."""

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        self.signer = Signer(Ed25519PrivateKey.generate())
        return super()._ingest(packed, nonce)


class ReplayingCloud(FakeCloud):
    """Answers with the receipt of another request."""

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        return super()._ingest(packed, "00" * 16)


class ForgetfulCloud(FakeCloud):
    """Stores the first event of a batch only, and gives an honest receipt for that."""

    def _store(self, stored: list[Sealed], sealed: Sealed, epoch: int) -> None:
        if not stored:
            super()._store(stored, sealed, epoch)


@pytest.mark.parametrize("liar", [ForgingCloud, ReplayingCloud])
async def test_an_answer_that_the_cloud_did_not_sign_for_this_request_settles_nothing(
    tmp_path: Path, liar: type[FakeCloud]
) -> None:
    async with a_world(tmp_path, liar) as world:
        await world.come_online()

        with pytest.raises(CloudUnreachable):
            await world.step()

        assert world.journal.backlog() == 1


async def test_a_receipt_that_does_not_cover_the_batch_stops_the_drain(tmp_path: Path) -> None:
    async with a_world(tmp_path, ForgetfulCloud) as world:
        await world.come_online()
        await world.journal.append(a_note(1))

        with pytest.raises(DrainStopped):
            await world.step()

        assert world.journal.backlog() == 2


async def test_listeners_hear_what_is_synced(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        with world.feed.subscribe() as subscription:
            assert await subscription.next() == ("synced", SyncedView(1, 1))


async def test_a_receipt_confirms_the_clock(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        assert len(world.clock.confirmed) == 1


async def test_a_restart_goes_on_after_the_last_receipt(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        assert await world.step()

    async with a_world(tmp_path) as world:
        await world.come_online()
        assert not await world.step()
        assert world.cloud.calls == []
