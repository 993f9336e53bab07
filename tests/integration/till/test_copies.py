"""The till's own copies: on disk before anything is sent, numbered without gaps, moving forward only."""

from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError, InvalidSale
from appliance.domain.event import GENESIS, Position
from appliance.domain.sale import Sale, parse_sale
from appliance.domain.wire import Ack
from tests.fakes.sales import a_sale
from tests.fakes.till_box import FakeBox
from till.copy import Copies, Copy, open_copies, read_copies, read_counts


async def keep(copies: Copies, *, ask_cloud: bool = False) -> Copy:
    return await copies.take(lambda number: a_sale(ticket_number=number), ask_cloud=ask_cloud)


async def accept(copies: Copies, box: FakeBox, copy: Copy) -> Ack:
    ack = box.ack(parse_sale(copy.body))
    await copies.accepted(ack, b"verbatim")
    return ack


async def test_a_copy_is_readable_by_others_as_soon_as_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "copies.db"
    async with open_copies(path, "till-1") as copies:
        copy = await keep(copies)

        assert read_copies(path, "pending") == [copy]
        assert parse_sale(copy.body).ticket_number == copy.ticket_number == 1


async def test_ticket_numbers_have_no_gaps_over_restarts_and_failures(tmp_path: Path) -> None:
    def fail(number: int) -> Sale:
        raise InvalidSale(str(number))

    for _ in range(2):
        async with open_copies(tmp_path / "copies.db", "till-1") as copies:
            await keep(copies)
            with pytest.raises(InvalidSale):
                await copies.take(fail, ask_cloud=False)
            await keep(copies)

    assert [copy.ticket_number for copy in read_copies(tmp_path / "copies.db", None)] == [1, 2, 3, 4]


async def test_a_withdrawn_ticket_gives_its_number_back(tmp_path: Path) -> None:
    async with open_copies(tmp_path / "copies.db", "till-1") as copies:
        await keep(copies)
        withdrawn = await copies.withdrawn((await keep(copies)).sale_id, "online-only")
        refused = await copies.refused((await keep(copies)).sale_id, "invalid-sale")
        after = await keep(copies)

    assert (withdrawn.ticket_number, withdrawn.code) == (2, "online-only")
    assert (refused.ticket_number, refused.state) == (2, "refused")
    assert after.ticket_number == 3


async def test_what_is_synced_stays_synced(tmp_path: Path) -> None:
    box = FakeBox()
    async with open_copies(tmp_path / "copies.db", "till-1") as copies:
        copy = await keep(copies)
        await copies.synced(copy.sale_id, cloud_answer=b"{}")
        await accept(copies, box, copy)
        await copies.refused(copy.sale_id, "no")
        await copies.withdrawn(copy.sale_id, "no")
        await copies.lost(copy.sale_id)

        found = await copies.get(copy.sale_id)

    assert (found.state, found.way, found.code) == ("synced", "cloud", None)


async def test_synced_counts_for_one_box_and_one_epoch_only(tmp_path: Path) -> None:
    box = FakeBox()
    async with open_copies(tmp_path / "copies.db", "till-1") as copies:
        taken = [await keep(copies) for _ in range(3)]
        for copy in taken:
            await accept(copies, box, copy)

        assert await copies.synced_up_to("sb-other", 1, 3) == []
        assert await copies.synced_up_to(box.id, 2, 3) == []
        assert [copy.seq for copy in await copies.synced_up_to(box.id, 1, 2)] == [1, 2]
        assert await copies.synced_up_to(box.id, 1, 2) == []
        assert await copies.counts() == {"accepted": 1, "synced": 2}


async def test_the_file_of_another_till_is_not_touched(tmp_path: Path) -> None:
    async with open_copies(tmp_path / "copies.db", "till-1") as copies:
        await keep(copies)
    with pytest.raises(ConfigError, match="till-1"):
        async with open_copies(tmp_path / "copies.db", "till-2"):
            pass

    assert read_counts(tmp_path / "copies.db") == {"pending": 1}


async def test_the_last_head_of_each_box_outlives_the_copy_that_it_came_with(tmp_path: Path) -> None:
    box, other = FakeBox(), FakeBox(seed=2)
    async with open_copies(tmp_path / "copies.db", "till-1") as copies:
        assert await copies.witness(box.id) is None
        copy = await keep(copies)
        first = await accept(copies, box, copy)
        last = await accept(copies, box, await keep(copies))
        box.end = Position(1, 0, GENESIS)  # the box lost its end, and gets a sale again at an earlier place
        await copies.lost(copy.sale_id)
        await accept(copies, box, copy)
        foreign = await accept(copies, other, await keep(copies))

        assert await copies.witness(box.id) == bytes(last.head) != bytes(first.head)
        assert await copies.witness(other.id) == bytes(foreign.head)

        box.end = Position(2, 0, GENESIS)  # a later epoch counts more, whatever its seq
        anew = await accept(copies, box, await keep(copies))
        assert await copies.witness(box.id) == bytes(anew.head)
