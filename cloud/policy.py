"""The policy in force: which operations pass only online. Data, versioned, signed when it is handed out."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from appliance.domain.dsse import ENVELOPE_BYTES_MAX, Signer
from appliance.domain.errors import BadInput, Malformed, TooLarge
from appliance.domain.gate import BUILT_IN, OperationName, Policy, Rule
from appliance.domain.statements import POLICY_TYPE, sign
from appliance.runtime.clock import Clock, rfc3339
from cloud import store_operations
from cloud.database import Database

# Base64 and the envelope around it add about a third.
POLICY_BYTES_MAX = ENVELOPE_BYTES_MAX * 2 // 3


class _Written(Rule, frozen=True, forbid_unknown_fields=True):
    """A rule in a policy file: a field that nobody knows is a mistake."""


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy as an operator writes it; without a version it gets the next one."""

    online_only: dict[OperationName, _Written]
    version: int | None = None

    def rules(self) -> dict[str, Rule]:
        """The rules, as boxes get them."""
        return msgspec.convert(msgspec.to_builtins(self.online_only), dict[str, Rule])


class PolicyDesk:
    """Keeps the policies of the chain."""

    def __init__(self, database: Database, signer: Signer, clock: Clock) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock

    async def begin(self) -> None:
        """Put the built-in policy into force as version 1, unless there is one already."""
        await self._database.transaction(_begin, rfc3339(self._clock.wall()))

    async def in_force(self) -> Policy:
        """The policy that boxes shall follow."""
        async with self._database.reading() as connection:
            found = await store_operations.policy_in_force(connection)
        assert found is not None  # begin() has run before anybody can ask
        return found

    async def envelope(self) -> bytes:
        """The same, signed."""
        return sign(self._signer, POLICY_TYPE, await self.in_force())

    async def replace(self, text: bytes) -> Policy:
        """Put a policy file into force and return it; one that changes nothing keeps its version.

        Raises Malformed, TooLarge, BadInput (its version is not above the one in force).
        """
        try:
            file = msgspec.json.decode(text, type=PolicyFile)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"not a policy: {error}") from error
        if len(canonical(file)) > POLICY_BYTES_MAX:
            raise TooLarge(f"a policy holds at most {POLICY_BYTES_MAX} bytes")
        return await self._database.transaction(_replace, file, rfc3339(self._clock.wall()))


async def _begin(connection: AsyncConnection, at: str) -> None:
    if await store_operations.policy_in_force(connection) is None:
        await store_operations.add_policy(connection, msgspec.structs.replace(BUILT_IN, version=1), at)


async def _replace(connection: AsyncConnection, file: PolicyFile, at: str) -> Policy:
    current = await store_operations.policy_in_force(connection) or BUILT_IN
    rules = file.rules()
    if rules == current.online_only and file.version in (None, current.version):
        return current
    version = current.version + 1 if file.version is None else file.version
    if version <= current.version:
        raise BadInput(f"version {version} is not above version {current.version}, which is in force")
    newer = Policy(version=version, online_only=rules)
    await store_operations.add_policy(connection, newer, at)
    return newer
