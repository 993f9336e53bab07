"""How every box is: what it last said of itself beside what head office holds of it."""

import logging
from datetime import datetime

import msgspec

from appliance.domain import statements
from appliance.domain.errors import BadSignature
from appliance.domain.health import Grade, Heartbeat, Verdict, judge
from appliance.domain.statements import HEARTBEAT_TYPE, Keys
from appliance.domain.wire import EpochRow, HeartbeatAnswer
from appliance.runtime.clock import Clock, rfc3339
from cloud import store_boxes, store_events, store_exceptions, store_office, store_updates
from cloud.boxes import certificate_until, order_for, read_beat
from cloud.catalogue import Shelf
from cloud.database import Database
from cloud.policy import PolicyDesk
from cloud.store_office import BoxRow
from cloud.store_updates import Outcome
from cloud.updates import UpdateDesk

log = logging.getLogger(__name__)


class BoxHealth(msgspec.Struct, frozen=True):
    """One box. `heard_at` and `beat` are None until its first heartbeat; `epochs` is what head office holds.

    `revoked_at`: it is believed no more. `certificate_s`: how long its certificate still holds, below 0 once it has
    ended; None where there are no certificates. `outcome`: what became of its last update.
    """

    box: str
    shop: str
    shop_name: str
    verdict: Verdict
    heard_at: str | None
    silent_s: float
    exceptions: int
    beat: Heartbeat | None
    epochs: list[EpochRow]
    revoked_at: str | None = None
    certificate_s: float | None = None
    outcome: Outcome | None = None


class FleetDesk:
    """Hears heartbeats and tells how the fleet is."""

    def __init__(
        self,
        database: Database,
        shelf: Shelf,
        policy: PolicyDesk,
        updates: UpdateDesk,
        clock: Clock,
        *,
        heartbeat_s: float,
    ) -> None:
        self._database = database
        self._shelf = shelf
        self._policy = policy
        self._updates = updates
        self._clock = clock
        self._heartbeat_s = heartbeat_s

    async def hear(self, box: str, keys: Keys, envelope: bytes) -> HeartbeatAnswer:
        """Keep what a box says of itself, and tell it what is new. Raises BadSignature."""
        beat = statements.verify(envelope, HEARTBEAT_TYPE, Heartbeat, keys)
        if beat.box != box:
            raise BadSignature(f"the heartbeat is of {beat.box}, not of {box}")
        now = self._clock.wall()
        await self._database.transaction(
            store_boxes.add_heartbeat, box, rfc3339(now), msgspec.json.encode(beat)
        )
        async with self._database.reading() as connection:
            order = await store_office.find_order(connection, box)
        offer = await self._updates.offered(box, beat)
        return HeartbeatAnswer(
            next_s=self._heartbeat_s,
            catalogue_version=await self._shelf.version(),
            policy_version=(await self._policy.in_force()).version,
            pairing=order_for(order, now),
            offer=0 if offer is None else offer.number,
        )

    async def look(self) -> list[BoxHealth]:
        """Every box, by shop."""
        async with self._database.reading() as connection:
            boxes = await store_office.boxes(connection)
            epochs = await store_events.epochs(connection)
            exceptions = await store_exceptions.count_by_box(connection)
            # The newest rollout comes first: in a dictionary the last one stays.
            said = {one.box: one for one in reversed(await store_updates.outcomes(connection))}
        now = self._clock.wall()
        return [
            _health(
                row,
                [e for e in epochs if e.box == row.box],
                exceptions.get(row.box, 0),
                said.get(row.box),
                now,
            )
            for row in boxes
        ]


def _health(
    row: BoxRow, epochs: list[EpochRow], exceptions: int, outcome: Outcome | None, now: datetime
) -> BoxHealth:
    beat, until = read_beat(row.beat), certificate_until(row.certificate)
    silent_s = 0.0 if row.beat_at is None else (now - datetime.fromisoformat(row.beat_at)).total_seconds()
    return BoxHealth(
        box=row.box,
        shop=row.shop,
        shop_name=row.shop_name,
        verdict=Verdict(Grade.UNKNOWN, "revoked") if row.revoked_at is not None else judge(beat, silent_s),
        heard_at=row.beat_at,
        # A clock that was set back must not make a box look heard from in the future.
        silent_s=max(0.0, silent_s),
        exceptions=exceptions,
        beat=beat,
        epochs=epochs,
        revoked_at=row.revoked_at,
        certificate_s=None if until is None else (until - now).total_seconds(),
        outcome=outcome,
    )
