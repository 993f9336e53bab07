"""The mirror behind the real head office: both sides agree on what travels, over HTTP."""

import asyncio
import random
from pathlib import Path

from appliance.gateways.cloud import open_cloud
from appliance.runtime.clock import rfc3339
from appliance.services.feed import Feed
from appliance.services.mirror import MirrorKeeper
from appliance.storage.mirror import open_mirror
from cloud import store_catalogue
from tests.fakes.catalogue import an_article, ean13
from tests.fakes.clock import OPENING, FakeClock
from tests.fakes.notes import Notes
from tests.integration.cloud.conftest import World, a_world


async def publish(world: World, *numbers: int, price_minor: int) -> None:
    articles = [an_article(number, price_minor=price_minor) for number in numbers]
    await asyncio.to_thread(
        lambda: store_catalogue.publish(
            world.settings.database, articles, origin="head office", at=rfc3339(OPENING)
        )
    )


async def test_a_box_follows_what_head_office_publishes(tmp_path: Path) -> None:
    clock, notes = FakeClock(), Notes()
    async with (
        a_world(tmp_path / "cloud", FakeClock()) as world,
        open_mirror(tmp_path / "mirror.db") as mirror,
    ):
        box = await world.enrolled(7)
        async with open_cloud(
            str(world.session._base_url),
            token=box.token,
            box=box.box.name,
            keys=box.cloud,
            clock=clock,
            observe=lambda *sample, bulk=False: None,
        ) as cloud:
            keeper = MirrorKeeper(
                mirror, cloud, Feed(), notes, clock, random.Random(1), tmp_path / "in.zst", lambda: 600.0
            )
            await publish(world, 1, 2, 3, price_minor=100)
            await keeper.step()
            assert mirror.by_gtin(ean13(3)) == (1, [an_article(3, price_minor=100)])

            await publish(world, 1, 2, 4, price_minor=200)
            await keeper.step()
            await keeper.step()

            assert mirror.by_gtin(ean13(3)) == (2, [])
            assert mirror.by_gtin(ean13(4)) == (2, [an_article(4, price_minor=200)])
            assert (mirror.count, await mirror.verify()) == (3, True)
            assert [(data["since"], data["version"]) for _, data in notes.written] == [(None, 1), (1, 2)]
