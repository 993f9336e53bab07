"""Each rung finds the box alone, and on none of them a liar is believed."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from appliance.runtime.certificates import key_spki
from tests.fakes.authority import a_key
from tests.fakes.paired_boxes import FakeLocator, PairedBox
from tests.fakes.till_box import FakeBox
from tests.integration.ladder.conftest import LOOPBACK, Till
from tests.integration.till.test_discovery import announced
from till.report import NotFound, Rung, Tried, Untrusted
from till.whereabouts import PLACES_FILE

RUNGS: list[Rung] = ["last", "mdns", "list", "locator", "manual"]


async def paired(till: Till, box: PairedBox, locator: FakeLocator, listed: list[str] | None = None) -> None:
    """The till knows the box's keys; of addresses only those listed."""
    box.listed, box.cloud_url = listed or [], locator.url
    await till.pair(box)


class Shop:
    """A box that is somewhere, and what the till has to find it by."""

    def __init__(self, till: Till, stack: AsyncExitStack) -> None:
        self.till, self.stack = till, stack
        self.locator = FakeLocator()

    async def lead(self, rung: Rung, to: PairedBox, box: PairedBox) -> dict[str, object]:
        """Let this rung alone lead to `to`, in the name of `box`; more arguments of `find`."""
        match rung:
            case "last":
                self.till.knows(to.url)
            case "mdns":
                port = int(to.place.split(":")[1])
                await self.stack.enter_async_context(announced(box, port, tls="1"))
                return {"interfaces": LOOPBACK}
            case "locator":
                self.locator.told(to)
                self.locator.places[box.id] = self.locator.places.pop(to.id)
            case "manual":
                return {"given": to.place}
            case "list":
                pass
        return {}


@pytest.mark.parametrize("rung", RUNGS)
async def test_each_rung_alone_finds_the_box(till: Till, rung: Rung) -> None:
    box = PairedBox()
    async with AsyncExitStack() as stack:
        shop = Shop(till, stack)
        await stack.enter_async_context(shop.locator.serving())
        await stack.enter_async_context(box.serving())
        await paired(till, box, shop.locator, [box.place] if rung == "list" else None)

        met = await till.find(**await shop.lead(rung, box, box))  # type: ignore[arg-type]

    assert met is not None
    assert met.box.base == box.url
    assert till.rung == rung
    assert (till.state / PLACES_FILE).read_text() == f'["{box.url}"]'


@pytest.mark.parametrize("rung", RUNGS)
async def test_a_liar_on_a_rung_is_not_believed_and_learns_nothing(till: Till, rung: Rung) -> None:
    box = PairedBox(1)
    liar = PairedBox(2, claims=box)
    async with AsyncExitStack() as stack:
        shop = Shop(till, stack)
        await stack.enter_async_context(shop.locator.serving())
        await stack.enter_async_context(liar.serving())
        async with box.serving():
            await paired(till, box, shop.locator, [liar.place] if rung == "list" else None)

        met = await till.find(**await shop.lead(rung, liar, box))  # type: ignore[arg-type]

    assert met is None
    assert liar.tokens_seen == set()
    assert [(line.rung, line.outcome) for line in till.told.of(Tried) if line.url == liar.url] == [
        (rung, "not-ours")
    ]
    assert till.told.of(Untrusted) != []
    [nowhere] = till.told.of(NotFound)
    assert rung in nowhere.tried
    assert "not this till's box" in nowhere.sentence
    assert (await till.pairing()).spki == box.spki


async def test_behind_a_liar_on_each_rung_but_the_last_the_box_is_found(till: Till) -> None:
    box, locator = PairedBox(1), FakeLocator()
    liar = PairedBox(2, claims=box)
    async with locator.serving(), box.serving(), liar.serving():
        await paired(till, box, locator, [liar.place])
        till.knows(liar.url)
        locator.told(liar)

        met = await till.find(liar.url, given=box.place)

    assert met is not None
    assert till.rung == "manual"
    assert liar.tokens_seen == set()


async def test_who_has_the_boxs_words_but_not_its_key_is_not_the_box(till: Till) -> None:
    box, locator = PairedBox(1), FakeLocator()
    parrot = PairedBox(1)
    async with locator.serving(), parrot.serving():
        async with box.serving():
            await paired(till, box, locator)
        parrot.hello = box.hello  # type: ignore[method-assign] # it repeats what anybody may read

        assert await till.find(given=parrot.place) is None

    assert parrot.tokens_seen == set()


async def test_a_paired_till_never_speaks_plain_http(till: Till) -> None:
    box, plain, locator = PairedBox(1), FakeBox(1), FakeLocator()
    async with locator.serving(), plain.serving():
        async with box.serving():
            await paired(till, box, locator)
        till.knows(plain.url)

        assert await till.find() is None

    assert plain.tokens_seen == set()


async def test_a_box_that_forgot_the_till_is_told_from_no_box(till: Till) -> None:
    box, locator = PairedBox(1), FakeLocator()
    async with locator.serving():
        async with box.serving():
            await paired(till, box, locator)
        # Its till authority is lost, as after a repair: it cannot take the till's certificate.
        fresh = PairedBox(1)
        fresh.tls_key = box.tls_key
        async with fresh.serving():
            assert await till.find(given=fresh.place) is None

    assert "does not know this till any more" in till.told.of(Untrusted)[0].reason


async def test_a_tls_key_that_the_box_vouches_for_is_taken(till: Till) -> None:
    box, locator = PairedBox(1), FakeLocator()
    async with locator.serving():
        async with box.serving():
            await paired(till, box, locator)
        box.change_tls_key("2026-12-01T00:00:00.000Z")
        async with box.serving():
            met = await till.find(given=box.place)

    assert met is not None
    assert (await till.pairing()).spki == key_spki(box.tls_key)


@pytest.mark.parametrize("fault", ["unvouched", "older", "of another box"])
async def test_a_tls_key_without_the_boxs_good_word_is_refused(till: Till, fault: str) -> None:
    box, locator = PairedBox(1), FakeLocator()
    async with locator.serving():
        async with box.serving():
            await paired(till, box, locator)
        known = box.spki
        box.change_tls_key("2026-01-01T00:00:00.000Z" if fault == "older" else "2026-12-01T00:00:00.000Z")
        box.vouches = fault != "unvouched"
        if fault == "of another box":
            good = box.hello
            box.tls_key, vouched = a_key(), good().vouch
            box.hello = lambda: msgspec.structs.replace(good(), vouch=vouched)  # type: ignore[method-assign]
        async with box.serving():
            assert await till.find(given=box.place) is None

    assert (await till.pairing()).spki == known


async def test_an_event_key_that_the_box_rotated_to_is_followed_and_never_back(till: Till) -> None:
    box, locator = PairedBox(1), FakeLocator()
    before, old_signer = box.hello, box.signer
    async with locator.serving(), box.serving():
        await paired(till, box, locator)
        box.rotate(9)
        met = await till.find(given=box.place)
        assert met is not None
        assert set(met.box.identity.keys) == {old_signer.key_id, box.signer.key_id}
        assert (await till.pairing()).fp == box.signer.key_id

        box.signer, box.rotations = old_signer, []
        assert before().fp == old_signer.key_id
        assert await till.find(given=box.place) is None


async def test_a_rotation_that_the_known_key_did_not_sign_is_refused(till: Till) -> None:
    box, locator = PairedBox(1), FakeLocator()
    async with locator.serving(), box.serving():
        await paired(till, box, locator)
        liar = PairedBox(2, claims=box)
        liar.rotate(9)
        box.signer, box.rotations = liar.signer, liar.rotations

        assert await till.find(given=box.place) is None


async def test_the_latest_four_places_are_kept(till: Till, tmp_path: Path) -> None:
    box, locator = PairedBox(1), FakeLocator()
    async with locator.serving(), box.serving():
        await paired(till, box, locator, [box.place])
        gone = [f"https://127.0.0.1:{port}" for port in (1, 2, 3, 4)]
        till.knows(*gone)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert await till.find() is not None
        assert loop.time() - began_s < 5

    assert (tmp_path / PLACES_FILE).read_text() == str([box.url, *gone[:3]]).replace("'", '"').replace(
        ", ", ","
    )
