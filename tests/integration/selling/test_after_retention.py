"""A sale whose content has left the box is still answered as it was the first time."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import SaleConflict, SalePruned
from appliance.domain.statements import Receipt
from appliance.runtime.clock import rfc3339
from tests.fakes.journals import BOX
from tests.fakes.sales import a_line, a_sale, a_sale_id
from tests.integration.selling.test_selling import Shop, a_shop


async def let_pass(shop: Shop) -> None:
    """The cloud receipts all there is, 36 days go by, and what is too old leaves."""
    end = shop.journal.end
    receipt = Receipt(BOX, end.epoch, end.seq, end.head.hex(), rfc3339(shop.clock.wall()), "00" * 16)
    await shop.journal.settle(receipt, b"envelope")
    shop.clock.jump_wall(timedelta(days=36))
    await shop.journal.record("started", {})
    while await shop.journal.prune(shop.clock.wall() - timedelta(days=35), 64):
        pass


@pytest.mark.parametrize("total_minor", [1_299, 1])  # the second one is flagged
async def test_a_repeated_sale_gives_the_first_ack_byte_for_byte(tmp_path: Path, total_minor: int) -> None:
    sale = a_sale(lines=[a_line()], total_minor=total_minor)
    async with a_shop(tmp_path) as shop:
        first, _ = await shop.selling.accept(sale, "till-1")
        await let_pass(shop)

        again, known = await shop.selling.accept(sale, "till-1")

        assert known
        assert msgspec.json.encode(again) == msgspec.json.encode(first)
    async with a_shop(tmp_path) as shop:
        again, known = await shop.selling.accept(sale, "till-1")

        assert known
        assert msgspec.json.encode(again) == msgspec.json.encode(first)


async def test_another_content_under_its_id_is_still_a_conflict_that_is_kept_once(tmp_path: Path) -> None:
    sale_id = a_sale_id()
    async with a_shop(tmp_path) as shop:
        await shop.selling.accept(a_sale(sale_id=sale_id), "till-1")
        with pytest.raises(SaleConflict):
            await shop.selling.accept(a_sale(sale_id=sale_id, ticket_number=8), "till-1")
        await let_pass(shop)
        end = shop.journal.end

        with pytest.raises(SaleConflict) as caught:
            await shop.selling.accept(a_sale(sale_id=sale_id, ticket_number=8), "till-1")

        assert caught.value.fields == {"epoch": 1, "seq": 2}
        assert shop.journal.end == end


async def test_a_look_up_says_where_the_content_is(tmp_path: Path) -> None:
    sale = a_sale()
    async with a_shop(tmp_path) as shop:
        await shop.selling.accept(sale, "till-1")
        await let_pass(shop)

        with pytest.raises(SalePruned) as caught:
            shop.selling.look_up(sale.sale_id)

    assert caught.value.fields == {"epoch": 1, "seq": 2}
