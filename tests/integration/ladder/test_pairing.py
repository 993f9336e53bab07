"""A till and a box come to know each other, over real TLS."""

import asyncio
import random
import stat
from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError, PairingRefused
from appliance.domain.pairing import payload, read_payload
from tests.fakes.clock import FakeClock
from tests.fakes.paired_boxes import PairedBox
from tests.fakes.tills import Told, a_basket
from tests.integration.ladder.conftest import NOWHERE, Till
from till.errors import NoAnswer, NotOurBox, Refused
from till.identity import KEY_FILE, PAIRING_FILE, TillKeys
from till.options import Options
from till.report import Connected
from till.run import sell_once
from till.wiring import open_till


async def test_a_till_pairs_by_the_code_and_sells_over_tls(till: Till, tmp_path: Path) -> None:
    box = PairedBox()
    async with box.serving():
        await till.pair(box, read_payload(payload(box.invitation(box.place))))

        options = Options(state=tmp_path, till_id="till-1", interfaces=NOWHERE)
        assert await sell_once(options, a_basket(), asyncio.Event(), FakeClock(), random.Random(7))

    assert len(box.acks) == 1
    assert box.url.startswith("https://")


async def test_key_and_pairing_are_for_the_till_alone_and_survive(till: Till, tmp_path: Path) -> None:
    box = PairedBox()
    async with box.serving():
        pairing = await till.pair(box)

    assert await till.pairing() == pairing
    assert (pairing.box, pairing.spki, pairing.fp) == (box.id, box.spki, box.signer.key_id)
    for name in (KEY_FILE, PAIRING_FILE):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_the_address_of_an_impostor_in_the_code_is_passed_over(till: Till) -> None:
    box, liar = PairedBox(1), PairedBox(2)
    liar.id = box.id
    async with box.serving(), liar.serving():
        await till.pair(box, box.invitation(liar.place, box.place))

    assert liar.tokens_given == 0
    assert (await till.pairing()).spki == box.spki


async def test_a_code_that_only_an_impostor_answers_pairs_nobody(till: Till, tmp_path: Path) -> None:
    box, liar = PairedBox(1), PairedBox(2)
    async with liar.serving():
        with pytest.raises(NoAnswer):
            await till.pair(box, box.invitation(liar.place))

    assert not (tmp_path / PAIRING_FILE).exists()


async def test_who_pairs_with_nobody_hears_why_of_each_address(till: Till) -> None:
    box = PairedBox(1)
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:1/.*; .*127\.0\.0\.1:2/"):
        await till.pair(box, box.invitation("127.0.0.1:1", "127.0.0.1:2"))


async def test_a_box_with_another_event_key_than_the_code_says_is_refused(till: Till, tmp_path: Path) -> None:
    box, other = PairedBox(1), PairedBox(2)
    box.tls_key = other.tls_key
    async with box.serving():
        with pytest.raises(NotOurBox):
            await till.pair(box, other.invitation(box.place))

    assert not (tmp_path / PAIRING_FILE).exists()


async def test_a_secret_that_is_spent_is_said_in_the_boxs_words(till: Till) -> None:
    box = PairedBox()
    async with box.serving():
        box.secret = "t" * 22
        with pytest.raises(Refused) as refused:
            await till.pair(box, box.invitation(box.place))

    assert refused.value.problem_code == PairingRefused.code


async def test_the_same_key_pairs_again(till: Till, tmp_path: Path) -> None:
    box = PairedBox()
    async with box.serving():
        first = await till.pair(box)
        key = (tmp_path / KEY_FILE).read_bytes()
        second = await till.pair(box)

    assert first.token != second.token
    assert (tmp_path / KEY_FILE).read_bytes() == key


async def test_a_damaged_pairing_is_no_pairing_but_an_error(till: Till, tmp_path: Path) -> None:
    box = PairedBox()
    async with box.serving():
        await till.pair(box)
    (tmp_path / PAIRING_FILE).write_bytes((tmp_path / PAIRING_FILE).read_bytes()[:-20])

    with pytest.raises(ConfigError):
        await asyncio.to_thread(TillKeys(tmp_path).load)


async def test_a_pairing_of_another_till_is_not_sold_with(till: Till, tmp_path: Path) -> None:
    box, told = PairedBox(), Told()
    async with box.serving():
        await till.pair(box)

    with pytest.raises(ConfigError, match="paired as till-1"):
        async with open_till(
            Options(state=tmp_path, till_id="till-2"), told.append, FakeClock(), random.Random(7)
        ):
            pass
    assert told.of(Connected) == []
