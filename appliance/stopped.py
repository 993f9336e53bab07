"""What commands do to the journal of a box that does not run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config import Config
from appliance.domain.event import Position
from appliance.domain.wire import ExportNote
from appliance.gateways.identity import Identity
from appliance.places import files_in
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.files import sole_owner
from appliance.services.rotation import follow_key, last_rotation
from appliance.services.witness import open_epoch
from appliance.storage.commit import Sealer
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal, open_journal


async def new_epoch(config: Config, clock: Clock, reason: str) -> tuple[Position, Position]:
    """Open another epoch in the journal of a box that is not running; where the one before ended, and the new end.

    Raises ConfigError (not enrolled, another process runs here), StorageFault, ChainFault.
    """
    async with _opened(config, clock) as (identity, journal):
        before = journal.end
        await open_epoch(journal, _head_file(config, identity), reason)
        return before, journal.end


async def record_export(config: Config, clock: Clock, note: ExportNote) -> None:
    """Record an export in the journal of a box that is not running. Raises as `new_epoch`, and CannotAccept."""
    async with _opened(config, clock) as (_, journal):
        await journal.record("exported", note)


async def rotate_key(config: Config, clock: Clock) -> tuple[Identity, Position]:
    """Give a box that is not running another event key, and open its epoch; the identity, and the new end.

    A power cut at any moment leaves the old key or the new one, and the next start mends the rest. Raises as
    `new_epoch`, and CannotAccept.
    """
    async with _opened(config, clock) as (identity, journal):
        identity.enrolment()
        rotation = await asyncio.to_thread(identity.keyring.prepare, rfc3339(clock.wall()))
        await journal.record("key_rotated", rotation)
    async with _opened(config, clock) as (identity, journal):
        return identity, journal.end


@asynccontextmanager
async def _opened(config: Config, clock: Clock) -> AsyncIterator[tuple[Identity, Journal]]:
    files = files_in(config)
    with sole_owner(files.lock):
        identity = await asyncio.to_thread(Identity, config.state)
        await asyncio.to_thread(lambda: identity.keyring.settle(last_rotation(files.journal)))
        sealer = Sealer(
            identity.box, identity.signer, clock, identity.keychain.keys, tuple(identity.rotations)
        )
        async with open_journal(files.journal, sealer) as journal:
            await follow_key(journal, _head_file(config, identity), identity.keychain)
            yield identity, journal


def _head_file(config: Config, identity: Identity) -> HeadFile:
    return HeadFile(files_in(config).head, identity.keychain.keys)
