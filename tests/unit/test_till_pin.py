"""Whom a till trusts: the key it met, and acks that this key vouches for."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import BadSignature, ConfigError
from appliance.domain.statements import HEAD_TYPE, RECEIPT_TYPE, Head, sign
from appliance.domain.wire import Ack
from tests.fakes.sales import a_sale
from tests.fakes.till_box import FakeBox
from till.errors import NotOurBox
from till.pin import PinFile, identity_of

replace = msgspec.structs.replace


def test_a_greeting_whose_names_follow_from_its_key_is_an_identity() -> None:
    box = FakeBox()

    identity = identity_of(box.hello())

    assert (identity.box, identity.fp) == (box.id, box.signer.key_id)


@pytest.mark.parametrize("field", ["box", "fp", "key"])
def test_a_greeting_with_anything_of_another_box_is_not_believed(field: str) -> None:
    ours, other = FakeBox(seed=1).hello(), FakeBox(seed=2).hello()

    with pytest.raises(NotOurBox):
        identity_of(replace(ours, **{field: getattr(other, field)}))


def test_a_greeting_without_a_key_is_not_believed() -> None:
    with pytest.raises(NotOurBox, match="none"):
        identity_of(replace(FakeBox().hello(), key="no key"))


def test_an_ack_is_good_under_a_head_at_or_behind_it() -> None:
    box, sale, later = FakeBox(), a_sale(), a_sale()
    ack, behind = box.ack(sale), box.ack(later)
    identity = identity_of(box.hello())

    identity.check_ack(ack, sale.sale_id)
    identity.check_ack(replace(ack, head=behind.head), sale.sale_id)


def a_head(box: FakeBox, /, **wrong: object) -> msgspec.Raw:
    head = Head(box.id, 1, 1, box.end.head.hex())
    return msgspec.Raw(sign(box.signer, HEAD_TYPE, replace(head, **wrong)))


@pytest.mark.parametrize(
    "forge",
    [
        lambda ack, box: replace(ack, sale_id="019aab10-d8e0-7000-8000-00000000ffff"),
        lambda ack, box: replace(ack, box="sb-aaaaaaaaaaaaaaaa"),
        lambda ack, box: replace(ack, epoch=2),
        lambda ack, box: replace(ack, seq=2),
        lambda ack, box: replace(ack, seq=0),
        lambda ack, box: replace(ack, hash="00" * 32),
        lambda ack, box: replace(ack, hash="no hash"),
        lambda ack, box: replace(ack, hash=""),
        lambda ack, box: replace(ack, head=a_head(FakeBox(seed=2))),
        lambda ack, box: replace(ack, head=a_head(box, box="sb-aaaaaaaaaaaaaaaa")),
        lambda ack, box: replace(ack, head=a_head(box, epoch=2)),
        lambda ack, box: replace(ack, head=a_head(box, head="11" * 32)),
        lambda ack, box: replace(ack, head=msgspec.Raw(b"{}")),
        lambda ack, box: replace(
            ack, head=msgspec.Raw(sign(box.signer, RECEIPT_TYPE, Head(box.id, 1, 1, ack.hash)))
        ),
    ],
)
def test_an_ack_that_the_box_does_not_vouch_for_is_no_ack(forge) -> None:  # type: ignore[no-untyped-def]
    box, sale = FakeBox(), a_sale()
    ack: Ack = forge(box.ack(sale), box)

    with pytest.raises(BadSignature):
        identity_of(box.hello()).check_ack(ack, sale.sale_id)


async def test_the_first_box_stays_the_only_one_also_after_a_restart(tmp_path: Path) -> None:
    ours, other = FakeBox(seed=1), FakeBox(seed=2)
    await PinFile(tmp_path / "box.json").pin(ours.hello())

    again = PinFile(tmp_path / "box.json")
    await asyncio.to_thread(again.load)

    again.check(identity_of(ours.hello()))
    with pytest.raises(NotOurBox, match=r"remove .*box\.json"):
        again.check(identity_of(other.hello()))
    with pytest.raises(NotOurBox):
        await again.pin(other.hello())


def test_a_damaged_pin_trusts_nobody(tmp_path: Path) -> None:
    (tmp_path / "box.json").write_bytes(b"{}")

    with pytest.raises(ConfigError, match=r"box\.json"):
        PinFile(tmp_path / "box.json").load()
