"""The books of operations: each done once, however often it was asked; and the policies that name them."""

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from appliance.domain.gate import Policy
from appliance.domain.wire import OperationAnswer
from cloud.tables import operation, policy


class OperationRow(msgspec.Struct, frozen=True):
    """An operation that was done."""

    operation_id: str
    operation: str
    asked_by: str
    at: str
    data: bytes

    @property
    def answer(self) -> OperationAnswer:
        """What whoever asked is told, each time."""
        return OperationAnswer(self.operation_id, self.operation, self.at)


async def find(connection: AsyncConnection, operation_id: str) -> OperationRow | None:
    """The operation with this id."""
    query = select(operation).where(operation.c.operation_id == operation_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else OperationRow(**row._mapping)


async def add(connection: AsyncConnection, row: OperationRow) -> None:
    """Store an operation whose id is new."""
    await connection.execute(insert(operation), msgspec.structs.asdict(row))


async def page(connection: AsyncConnection, after: str, limit: int) -> list[OperationAnswer]:
    """Up to `limit` operations whose ids sort behind `after`, in the order of their ids."""
    query = (
        select(operation.c.operation_id, operation.c.operation, operation.c.at)
        .where(operation.c.operation_id > after)
        .order_by(operation.c.operation_id)
        .limit(limit)
    )
    return [OperationAnswer(*row) for row in await connection.execute(query)]


async def policy_in_force(connection: AsyncConnection) -> Policy | None:
    """The policy with the highest version; None before the first."""
    body = await connection.scalar(select(policy.c.body).order_by(policy.c.version.desc()).limit(1))
    return None if body is None else msgspec.json.decode(body, type=Policy)


async def add_policy(connection: AsyncConnection, newer: Policy, at: str) -> None:
    """Put a policy into force; its version is higher than any."""
    await connection.execute(insert(policy), {"version": newer.version, "at": at, "body": canonical(newer)})
