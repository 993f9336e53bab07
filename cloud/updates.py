"""Head office's desk for updates: it keeps bundles, says who gets which, and hears what became of them.

A bundle goes to boxes by name, to shops by name, or to a ring: a share of all boxes that stays the same while it grows,
so that widening it asks nobody twice. Boxes that go back halt the rollout for all others.
"""

import asyncio
import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.errors import BadInput, NotFound
from appliance.domain.health import Heartbeat
from appliance.domain.statements import OFFER_TYPE, sign
from appliance.domain.update import BUNDLE_BYTES_MAX, Compatible, Notes, Offer, Version
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.files import sync_directory
from cloud import audit, store_boxes, store_office, store_updates
from cloud.boxes import read_beat
from cloud.database import Database
from cloud.store_updates import Bundle, Outcome, Rollout

log = logging.getLogger(__name__)

HALT_AFTER = 2
COPY_BYTES = 1024 * 1024
BY = "head-office"


class BundleFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator says of a bundle's file."""

    version: Version
    compatible: Compatible
    floor: Version = "0.0.0"
    notes: Notes = Notes()


class Circle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who gets a bundle."""

    boxes: list[str] = []
    shops: list[str] = []
    percent: int = 0
    halt_after: int = HALT_AFTER


class RolloutView(msgspec.Struct, frozen=True):
    """A rollout, its bundle, and what became of it so far: how many boxes said which word."""

    rollout: Rollout
    version: str
    compatible: str
    said: dict[str, int]


class _Asked(NamedTuple):
    box: str
    shop: str
    compatible: str


def in_ring(box: str, salt: str, percent: int) -> bool:
    """Whether a box is among so many percent. A growing ring keeps its boxes; another bundle draws others."""
    drawn = int.from_bytes(hashlib.sha256(f"{salt}/{box}".encode()).digest()[:8])
    return drawn % 100 < percent


def covers(rollout: Rollout, bundle: Bundle, asked: _Asked) -> bool:
    """Whether a rollout is for this box. One that is named gets the offer whatever it is: it refuses by itself."""
    if asked.box in rollout.boxes:
        return True
    if asked.compatible != bundle.compatible:
        return False
    return asked.shop in rollout.shops or in_ring(asked.box, bundle.sha256, rollout.percent)


class UpdateDesk:
    """Publishes, offers, halts. `directory` holds the bundles' files."""

    def __init__(self, database: Database, signer: Signer, clock: Clock, directory: Path) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self._directory = directory

    def path(self, sha256: str) -> Path:
        """Where a bundle's file stands."""
        return self._directory / f"{sha256}.raucb"

    async def publish(self, file: Path, facts: BundleFacts) -> Bundle:
        """Keep a bundle for boxes; the same file again is the one that is there. Raises BadInput, OSError."""
        sha256, size = await asyncio.to_thread(_keep, file, self._directory)
        at = rfc3339(self._clock.wall())
        values: dict[str, object] = {
            "version": facts.version,
            "compatible": facts.compatible,
            "sha256": sha256,
            "size": size,
            "floor": facts.floor,
            "notes": canonical(facts.notes),
            "at": at,
        }

        async def work(connection: AsyncConnection) -> Bundle:
            kept = await store_updates.add_bundle(connection, values)
            if (kept.version, kept.compatible, kept.floor) != (facts.version, facts.compatible, facts.floor):
                raise BadInput(f"this file was published as {kept.version} for {kept.compatible} already")
            await audit.note(connection, BY, "bundle-published", kept.version, {"sha256": sha256}, at=at)
            return kept

        return await self._database.transaction(work)

    async def roll_out(self, bundle: int, circle: Circle) -> int:
        """Begin to offer a bundle; the rollout's number. Raises NotFound, BadInput."""
        if not (circle.boxes or circle.shops or circle.percent):
            raise BadInput("say who gets it: boxes, shops or a percentage")
        _check_percent(circle.percent)
        at = rfc3339(self._clock.wall())
        values: dict[str, object] = {
            "bundle": bundle,
            "boxes": canonical(circle.boxes).decode(),
            "shops": canonical(circle.shops).decode(),
            "percent": circle.percent,
            "halt_after": circle.halt_after,
            "at": at,
        }

        async def work(connection: AsyncConnection) -> int:
            if await store_updates.find_bundle(connection, number=bundle) is None:
                raise NotFound(f"no bundle {bundle}")
            number = await store_updates.add_rollout(connection, values)
            data = msgspec.to_builtins(circle)
            await audit.note(connection, BY, "rollout-begun", str(number), data, at=at)
            return number

        return await self._database.transaction(work)

    async def widen(self, number: int, percent: int) -> None:
        """Make a rollout's ring larger. Raises NotFound, BadInput (it was halted, or would shrink)."""
        _check_percent(percent)
        at = rfc3339(self._clock.wall())

        async def work(connection: AsyncConnection) -> None:
            found = await _find(connection, number)
            if found.halted_at is not None:
                raise BadInput(f"rollout {number} was halted: {found.halted_why}")
            if percent < found.percent:
                raise BadInput(f"it is at {found.percent} % already; what was offered is not taken back")
            await store_updates.widen(connection, number, percent)
            await audit.note(connection, BY, "rollout-widened", str(number), {"percent": percent}, at=at)

        await self._database.transaction(work)

    async def halt(self, number: int, why: str) -> None:
        """Offer it to nobody any more. Raises NotFound."""
        at = rfc3339(self._clock.wall())

        async def work(connection: AsyncConnection) -> None:
            await _find(connection, number)
            await store_updates.halt(connection, number, why, at)
            await audit.note(connection, BY, "rollout-halted", str(number), {"why": why}, at=at)

        await self._database.transaction(work)

    async def overview(self) -> tuple[list[Bundle], list[RolloutView]]:
        """All bundles, and all rollouts with what became of them."""
        async with self._database.reading() as connection:
            bundles = await store_updates.bundles(connection)
            rollouts = await store_updates.rollouts(connection)
            said = await store_updates.outcomes(connection)
        known = {bundle.number: bundle for bundle in bundles}
        return bundles, [_view(rollout, known[rollout.bundle], said) for rollout in rollouts]

    async def outcomes(self, number: int | None = None) -> list[Outcome]:
        """What became of a rollout, or of all of them, on each box."""
        async with self._database.reading() as connection:
            return await store_updates.outcomes(connection, number=number)

    async def offered(self, box: str, beat: Heartbeat | None = None) -> Offer | None:
        """What a box may take now; nothing once it has said what became of it.

        `beat`: what it says of itself, when it is known already.
        """
        async with self._database.reading() as connection:
            return await _offered(connection, box, beat)

    async def envelope(self, box: str) -> bytes:
        """The same, signed. Raises NotFound when there is nothing to take."""
        offer = await self.offered(box)
        if offer is None:
            raise NotFound(f"there is no update for {box}")
        return sign(self._signer, OFFER_TYPE, offer)


async def _offered(connection: AsyncConnection, box: str, beat: Heartbeat | None) -> Offer | None:
    going = await store_updates.rollouts(connection, going=True)
    if not going:
        return None
    if beat is None:
        rows = await store_office.boxes(connection, name=box)
        beat = read_beat(rows[0].beat) if rows else None
    shop = await store_boxes.shop_of(connection, box) or ""
    asked = _Asked(box, shop, "" if beat is None else beat.update.compatible)
    done = {said.rollout for said in await store_updates.outcomes(connection, box=box)}
    for rollout in going:
        bundle = await store_updates.find_bundle(connection, number=rollout.bundle)
        if bundle is not None and rollout.number not in done and covers(rollout, bundle, asked):
            return _offer(rollout, bundle)
    return None


def _offer(rollout: Rollout, bundle: Bundle) -> Offer:
    return Offer(
        number=rollout.number,
        version=bundle.version,
        compatible=bundle.compatible,
        sha256=bundle.sha256,
        size=bundle.size,
        floor=bundle.floor,
        notes=msgspec.json.decode(bundle.notes, type=Notes),
    )


async def _find(connection: AsyncConnection, number: int) -> Rollout:
    for rollout in await store_updates.rollouts(connection):
        if rollout.number == number:
            return rollout
    raise NotFound(f"no rollout {number}")


def _view(rollout: Rollout, bundle: Bundle, said: list[Outcome]) -> RolloutView:
    words: dict[str, int] = {}
    for one in said:
        if one.rollout == rollout.number:
            words[one.kind] = words.get(one.kind, 0) + 1
    return RolloutView(rollout, bundle.version, bundle.compatible, words)


def _check_percent(percent: int) -> None:
    if not 0 <= percent <= 100:
        raise BadInput(f"{percent} is no percentage")


def _keep(file: Path, directory: Path) -> tuple[str, int]:
    """Copy a file under its hash; on disk when this returns. Blocks."""
    directory.mkdir(mode=0o700, exist_ok=True)
    beside, digest, size = directory / "incoming", hashlib.sha256(), 0
    with file.open("rb") as source, beside.open("wb") as target:
        while piece := source.read(COPY_BYTES):
            digest.update(piece)
            size += target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    if not 0 < size <= BUNDLE_BYTES_MAX:
        beside.unlink()
        raise BadInput(f"{file}: a bundle holds 1 to {BUNDLE_BYTES_MAX} bytes")
    beside.replace(directory / f"{digest.hexdigest()}.raucb")
    sync_directory(directory)
    return digest.hexdigest(), size
