"""A whole till whose way to head office fails in the middle of a ticket: the sale is safe, wherever it went."""

import asyncio
import hashlib
import random
from pathlib import Path

import pytest

from appliance.runtime.supervision import supervised
from demo.faults import CutShort, Drip, Duplicate, Fault, Flip, Refuse, Reset, Swallow
from tests.fakes.clock import FakeClock
from tests.fakes.till_box import FakeBox
from tests.fakes.till_peers import TOKEN
from tests.fakes.tills import Told, a_basket
from tests.integration.line.conftest import Shop
from till.options import Options
from till.report import Conflict, RefusedLine, Sold
from till.wiring import open_till

# The till goes to the box after one silence: not for a machine that is busy with something else.
TILL_SILENCE_S = 0.4
FAULTS: dict[str, Fault] = {
    "lost-answer": Swallow("down"),
    "lost-question": Swallow("up"),
    "reset-in-answer": Reset("down", 100),
    "reset-in-question": Reset("up", 300),
    "answer-cut-short": CutShort("down", 190),
    "answer-stalls": Drip("down", 0.01, 40),
    "refused": Refuse(),
    "delivered-twice": Duplicate(),
    "a-bit-of-the-sale": Flip("up", 8 * 500),
    "a-bit-of-the-request-line": Flip("up", 8 * 9 + 1),
    "a-bit-of-the-answer": Flip("down", 8 * 190),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_ticket_in_the_middle_of_a_fault_is_sold_once_and_unaltered(
    shop: Shop, tmp_path: Path, fault: Fault
) -> None:
    box, told, clock, rng = FakeBox(), Told(), FakeClock(), random.Random(5)
    token = await shop.office.till_token(till="T1")
    await asyncio.to_thread((tmp_path / "till").mkdir)
    async with box.serving():
        options = Options(
            state=tmp_path / "till",
            till_id="T1",
            box_token=TOKEN,
            box_url=box.url,
            cloud_url=shop.line.url,
            cloud_token=token,
            cloud_timeout_s=TILL_SILENCE_S,
        )
        async with open_till(options, told.append, clock, rng) as till, supervised(till.services, clock, rng):
            await till.lookout.first_try.wait()
            if not isinstance(fault, Refuse):
                await till.selling.sell(a_basket())
            shop.line.inflict(fault, 1)

            sold = await till.selling.sell(a_basket())
            copies = {copy.sale_id: copy for copy in await till.copies.in_state("synced")}
            copies |= {copy.sale_id: copy for copy in await till.copies.in_state("accepted")}

    assert isinstance(sold, Sold)
    assert shop.line.counters.strikes == 1
    assert set(copies) == {line.sale_id for line in told.of(Sold)}
    assert not told.of(RefusedLine)
    assert not told.of(Conflict)
    rows = {row["sale_id"]: row["sha256"] for row in (await shop.office.read("/v1/sales")).lines()}
    for copy in copies.values():
        assert copy.sale_id in rows or copy.body in box.posted
        assert rows.get(copy.sale_id) in (None, hashlib.sha256(copy.body).hexdigest())
    assert rows.keys() <= copies.keys()
    assert (await shop.office.read("/v1/exceptions")).json() == []
