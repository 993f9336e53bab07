"""What happens at a till's counter: customers, repeats, contradictions, and what head office must answer."""

import contextlib
from typing import Any

import msgspec

from appliance.domain.errors import (
    CannotAccept,
    CloudRefused,
    InvalidSale,
    Malformed,
    OnlineOnly,
    OperationRejected,
    OutcomeUnknown,
    SaleConflict,
)
from appliance.domain.sale import Mode, Sale, read_sale
from appliance.domain.wire import OperationRequest
from appliance.runtime.clock import rfc3339
from campaigns.simulation.box import Box
from campaigns.simulation.tills import Copy, NoAnswer, Till
from till.tickets import Basket, Item, Stamp, make_sale, price, uuid7

# Shares of what is done at a counter.
DEPOSITS, OPERATIONS, REPEATS, CONFLICTS = 0.04, 0.03, 0.05, 0.01
# What does not add up, and what cannot be read: a till with a mistake.
MUDDLED, UNREADABLE = 0.03, 0.01
OPERATION_NAMES = ("transfer", "goods_reception", "petty_cash_expense", "new_customer", "daily_closing")


class Counter:
    """Who stands at one till."""

    def __init__(self, till: Till) -> None:
        self._till = till

    async def serve(self) -> None:
        """One customer, or something else."""
        rng = self._till.rng
        chance = rng.random()
        done = [copy for copy in self._till.disk.copies.values() if copy.state in ("accepted", "synced")]
        if chance < OPERATIONS:
            await self._operate()
        elif chance < OPERATIONS + REPEATS and done:
            await self._repeat(rng.choice(done))
        elif chance < OPERATIONS + REPEATS + CONFLICTS and done:
            await self._contradict(rng.choice(done))
        elif chance < OPERATIONS + REPEATS + CONFLICTS + UNREADABLE and done:
            self._garble(rng.choice(done))
        else:
            await self._sell()

    async def _sell(self) -> None:
        till = self._till
        copy = await till.bring(self._ticket(till.between_tickets()))
        till.oracle.trace.note(till.name, "sold", copy.sale.ticket_number, copy.state, *copy.place)

    def _ticket(self, mode: Mode) -> Sale:
        rng, at = self._till.rng, self._till.clock.wall()
        self._till.disk.tickets += 1
        line_type: Any = "deposit" if rng.random() < DEPOSITS else "sale"
        items = [
            Item(
                article_id=f"a-{rng.randint(1, 500)}",
                quantity=rng.choice(("1", "1", "2", "0.350")),
                unit_price_minor=rng.randint(50, 9_999),
                vat_rate_bp=rng.choice((550, 1_000, 2_000)),
                line_type=line_type,
            )
            for _ in range(rng.randint(1, 4))
        ]
        priced = price(Basket(items), lambda _: None, catalogue_version=1)
        sale_id = uuid7(int(at.timestamp() * 1_000), rng)
        stamp = Stamp(sale_id, self._till.name, at.date().isoformat(), rfc3339(at), rfc3339(at), mode)
        sale = make_sale(priced, stamp, self._till.disk.tickets)
        if rng.random() < MUDDLED:
            return msgspec.structs.replace(sale, total_minor=sale.total_minor + rng.choice((-1, 1, 100)))
        return sale

    def _garble(self, copy: Copy) -> None:
        """A sale that is not to be read: refused with a reason, whatever is wrong with it."""
        till, rng = self._till, self._till.rng
        body = bytearray(copy.sale.encode())
        body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            read_sale(bytes(body[: rng.randrange(len(body) + 1)] if rng.random() < 0.5 else body))
        except (InvalidSale, Malformed) as refusal:
            till.oracle.expect(str(refusal) != "", "7", "an unreadable sale is refused without a reason")

    async def _repeat(self, copy: Copy) -> None:
        """The cashier presses the key again: the first ack, byte for byte."""
        till = self._till
        try:
            ack, known = await till.ask_box(lambda box: box.selling.accept(copy.sale, till.name))
        except (NoAnswer, CannotAccept, OnlineOnly):
            return
        first_time = copy.sale.sale_id not in till.oracle.acks
        till.oracle.expect(known or first_time, "3", f"{copy.sale.sale_id} was stored a second time")
        till.acked(copy, ack)

    async def _contradict(self, copy: Copy) -> None:
        till = self._till
        if copy.sale.sale_id not in till.oracle.acks:
            return  # only one way knows it: what the other says of it is no conflict yet
        other = msgspec.structs.replace(copy.sale, operator_id="another")
        try:
            await till.ask_box(lambda box: box.selling.accept(other, till.name))
        except SaleConflict:
            till.oracle.conflicted(copy.sale, "conflict")
        except (NoAnswer, CannotAccept, OnlineOnly):
            pass
        else:
            till.oracle.conflicted(copy.sale, "accepted")

    async def _operate(self) -> None:
        till = self._till
        name = till.rng.choice(OPERATION_NAMES)
        at_ms = int(till.clock.wall().timestamp() * 1_000)
        request = OperationRequest(uuid7(at_ms, till.rng), {"by": till.name})
        online, ago_s = False, 0.0

        async def perform(box: Box) -> Any:
            nonlocal online, ago_s
            online, ago_s = box.wan.link.online, till.clock.monotonic() - till.line.answered_s
            return await box.operations.perform(name, request, till.name)

        refusals = (NoAnswer, OutcomeUnknown, OnlineOnly, CloudRefused, OperationRejected, CannotAccept)
        with contextlib.suppress(*refusals):
            await till.ask_box(perform)
        if request.operation_id in till.line.office.operations:
            till.oracle.passed(f"operation {name}", online, ago_s)
