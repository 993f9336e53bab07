"""An update over HTTP: the box's own gateway asks the real head office."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.domain.errors import CloudUnreachable
from appliance.domain.link import Cause
from appliance.domain.statements import OFFER_TYPE, verify
from appliance.domain.update import Offer
from appliance.gateways.cloud import CloudGateway, open_cloud
from cloud.updates import BundleFacts, Circle
from cloud.wiring import desk_of, open_office
from tests.fakes.clock import FakeClock
from tests.integration.cloud.conftest import Enrolled, World, a_world

BUNDLE = bytes(range(251)) * 1_000
SHA256 = hashlib.sha256(BUNDLE).hexdigest()


@dataclass
class Line:
    world: World
    box: Enrolled
    gateway: CloudGateway
    samples: list[tuple[Cause, bool]]


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    samples: list[tuple[Cause, bool]] = []

    def observe(cause: Cause, took_s: float, *, bulk: bool = False) -> None:
        samples.append((cause, bulk))

    (tmp_path / "b.raucb").write_bytes(BUNDLE)
    async with a_world(tmp_path / "cloud", FakeClock()) as world:
        box = await world.enrolled(7)
        async with open_office(world.settings, world.clock) as office:
            desk = desk_of(office)
            bundle = await desk.publish(tmp_path / "b.raucb", BundleFacts("0.2.0", "storebox-amd64"))
            await desk.roll_out(bundle.number, Circle(boxes=[box.box.name]))
        async with open_cloud(
            str(world.session._base_url),
            token=box.token,
            box=box.box.name,
            keys=box.cloud,
            clock=world.clock,
            observe=observe,
        ) as gateway:
            yield Line(world, box, gateway, samples)


async def test_the_offer_comes_signed(line: Line) -> None:
    offer = verify(await line.gateway.offer(), OFFER_TYPE, Offer, line.box.cloud)

    assert (offer.version, offer.sha256, offer.size) == ("0.2.0", SHA256, len(BUNDLE))
    assert line.samples == [(Cause.OK, False)]


async def test_pieces_make_the_bundle_and_their_time_says_nothing_of_the_line(line: Line) -> None:
    pieces = [
        await line.gateway.fetch_piece(SHA256, start, 100_000, len(BUNDLE))
        for start in range(0, len(BUNDLE), 100_000)
    ]

    assert b"".join(pieces) == BUNDLE
    assert line.samples == [(Cause.OK, True)] * 3


async def test_an_answer_of_another_length_is_no_piece(line: Line) -> None:
    with pytest.raises(CloudUnreachable, match="for a range"):
        await line.gateway.fetch_piece(SHA256, len(BUNDLE) - 10, 100, len(BUNDLE) + 50)


async def test_a_bundle_that_is_gone_is_asked_for_again_later(line: Line) -> None:
    with pytest.raises(CloudUnreachable) as caught:
        await line.gateway.fetch_piece("ab" * 32, 0, 100, 100)

    assert caught.value.fields["cause"] == Cause.OK
