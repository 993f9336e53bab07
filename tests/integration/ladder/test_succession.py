"""A dead box is swapped: its tills move to the new one by what head office signed, and by nothing else."""

import asyncio
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Envelope, Signer
from appliance.runtime.certificates import read_csr
from tests.fakes.paired_boxes import FakeLocator, PairedBox
from tests.integration.ladder.conftest import LOOPBACK, Till
from tests.integration.till.test_discovery import announced
from till.identity import TillKeys
from till.report import RePaired, Untrusted

SOMEBODY = Signer(Ed25519PrivateKey.from_private_bytes(bytes([66] * 32)))
FORGED: dict[str, Callable[[PairedBox, PairedBox], Envelope | None]] = {
    "no statement": lambda new, old: None,
    "not by head office": lambda new, old: new.succeed(old, office=SOMEBODY),
    "by the old box": lambda new, old: new.succeed(old, office=old.signer),
    "of another shop": lambda new, old: new.succeed(old, shop="shop-2"),
    "of another old box": lambda new, old: new.succeed(PairedBox(5)),
    "of another new box": lambda new, old: new.succeed(old, new=PairedBox(5).id),
    "of another event key": lambda new, old: new.succeed(old, fp=old.signer.key_id),
    "of another TLS key": lambda new, old: new.succeed(old, spki=old.spki),
}


async def paired(till: Till, old: PairedBox, heir: PairedBox, cloud_url: str = "") -> None:
    """The till knows the old box; the heir inherits its key."""
    old.listed, old.cloud_url = [], cloud_url
    async with old.serving():
        await till.pair(old)
    csr = await asyncio.to_thread(TillKeys(till.state).csr, "till-1")
    heir.inherited.add(read_csr(csr).spki)
    heir.secret = None


@pytest.fixture
def boxes() -> tuple[PairedBox, PairedBox]:
    return PairedBox(1), PairedBox(2)


async def test_a_till_moves_to_the_successor_without_a_scan(
    till: Till, boxes: tuple[PairedBox, PairedBox]
) -> None:
    old, new = boxes
    await paired(till, old, new)
    new.succession = new.succeed(old)
    async with new.serving() as port, announced(new, port, tls="1"):
        met = await till.find(interfaces=LOOPBACK)

        assert met is not None
        assert met.box.identity.box == new.id
        assert [(line.box, line.instead_of) for line in till.told.of(RePaired)] == [(new.id, old.id)]
        pairing = await till.pairing()
        assert (pairing.box, pairing.spki) == (new.id, new.spki)

        # From now on it is as if they had always known each other.
        assert await till.find(new.url) is not None
    assert new.tokens_given == 1


@pytest.mark.parametrize("fault", FORGED)
async def test_a_successor_without_head_offices_good_word_is_refused(
    till: Till, boxes: tuple[PairedBox, PairedBox], fault: str
) -> None:
    old, new = boxes
    await paired(till, old, new)
    new.succession = FORGED[fault](new, old)
    async with new.serving():
        assert await till.find(given=new.place) is None

    assert new.tokens_given == 0
    assert new.tokens_seen == set()
    assert till.told.of(Untrusted) != []
    assert (await till.pairing()).box == old.id


async def test_a_successor_that_does_not_know_the_till_says_so(
    till: Till, boxes: tuple[PairedBox, PairedBox]
) -> None:
    old, new = boxes
    await paired(till, old, new)
    new.inherited.clear()
    new.succession = new.succeed(old)
    async with new.serving():
        assert await till.find(given=new.place) is None

    assert (await till.pairing()).box == old.id


async def test_head_office_leads_over_two_dead_boxes_to_the_third(
    till: Till, boxes: tuple[PairedBox, PairedBox]
) -> None:
    old, second = boxes
    third, locator = PairedBox(3), FakeLocator()
    async with locator.serving(), third.serving():
        await paired(till, old, third, locator.url)
        third.succession = third.succeed(second)
        locator.told(old, second.succeed(old))
        locator.told(second, third.succession)
        locator.told(third)

        met = await till.find()

    assert met is not None
    assert till.rung == "locator"
    assert met.box.identity.box == third.id


async def test_a_box_that_belongs_to_no_shop_is_not_paired_with(
    till: Till, boxes: tuple[PairedBox, PairedBox]
) -> None:
    old, new = boxes
    await paired(till, old, new)
    new.succession, new.state = new.succeed(old), "unclaimed"
    async with new.serving():
        assert await till.find(given=new.place) is None

    assert new.tokens_given == 0
