"""Do what only head office may do, once per operation id, however often it is asked."""

import logging

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from appliance.domain.errors import OperationRejected, SaleConflict
from appliance.domain.wire import OperationAnswer, OperationRequest
from appliance.runtime.clock import Clock, rfc3339
from cloud import store_operations
from cloud.database import Database
from cloud.policy import PolicyDesk
from cloud.store_operations import OperationRow

log = logging.getLogger(__name__)

# Those that move money: an amount that is given must be one.
_WITH_AMOUNT = frozenset({"petty_cash_expense", "credit_note", "deposit"})


class OperationConflict(SaleConflict):
    """The operation id is known, for another operation or with other data."""

    code, title = "operation-conflict", "This operation id was already used for something else"


class Done(msgspec.Struct, frozen=True):
    """The answer, and whether it was given before."""

    answer: OperationAnswer
    known: bool


class OperationDesk:
    """The desk for operations. This reference one writes each down; a real back office would also act on it."""

    def __init__(self, database: Database, policy: PolicyDesk, clock: Clock) -> None:
        self._database = database
        self._policy = policy
        self._clock = clock

    async def do(self, operation: str, request: OperationRequest, *, asked_by: str) -> Done:
        """Do it, or give the first answer again. Raises OperationRejected, OperationConflict."""
        row = OperationRow(
            operation_id=request.operation_id,
            operation=operation,
            asked_by=asked_by,
            at=rfc3339(self._clock.wall()),
            data=canonical(request.data),
        )
        judge(operation, request, known=frozenset((await self._policy.in_force()).online_only))
        done = await self._database.transaction(_once, row)
        log.info("operation.done", extra={"operation": operation, "asked_by": asked_by, "known": done.known})
        return done


def judge(operation: str, request: OperationRequest, *, known: frozenset[str]) -> None:
    """Raises OperationRejected when head office would not do this."""
    if operation not in known:
        raise OperationRejected(f"head office knows no operation {operation!r}", operation=operation)
    amount = request.data.get("amount_minor", 1)
    if operation in _WITH_AMOUNT and (type(amount) is not int or amount <= 0):
        raise OperationRejected("amount_minor must be a positive integer", operation=operation)


async def _once(connection: AsyncConnection, row: OperationRow) -> Done:
    first = await store_operations.find(connection, row.operation_id)
    if first is None:
        await store_operations.add(connection, row)
        return Done(row.answer, known=False)
    if (first.operation, first.data) != (row.operation, row.data):
        raise OperationConflict(f"{row.operation_id} stands for a {first.operation} with its own data")
    return Done(first.answer, known=True)
