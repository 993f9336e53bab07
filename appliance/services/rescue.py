"""Bring what a dead box's card still holds to head office: each event that a signature proves, once, in order.

A run of events is proven by the signed head that it ends with, back to the first hole before it. So a row that cannot
be read costs the rows between it and the signed head before it, and nothing behind it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import closing

import msgspec

from appliance.domain import event as chain
from appliance.domain.batch import pack
from appliance.domain.errors import BadEvent, BadSignature, CloudRefused, NotFound
from appliance.domain.event import Sealed
from appliance.domain.statements import HEAD_TYPE, Head, Keys, verify
from appliance.domain.wire import BATCH_BYTES_MAX, RescueView
from appliance.services.chainwalk import Progress
from appliance.services.ports import RescueCloud
from appliance.storage.journal_tables import place_of
from appliance.storage.salvage import Card

# The head's envelope and the line feeds of a batch take room too.
_BODIES_BYTES_MAX = BATCH_BYTES_MAX - 64 * 1024
# Fewer than the drain's: runs are put together anew at each head, and nobody waits for the last batch of a rescue.
_BATCH_EVENTS = 500


class RescueReport(msgspec.Struct, frozen=True):
    """What became of a card's events. `recovered`: head office holds them now, `added` of them since this run.

    `missing`: the journal reached over them, and head office does not hold them. `refused`: what head office said.
    """

    box: str
    recovered: int
    added: int
    missing: int
    damaged: bool
    refused: list[str]


class Run(msgspec.Struct, frozen=True):
    """Events in a row, proven by the signed head of the last one."""

    head: bytes
    events: list[Sealed]


def box_of(card: Card) -> str:
    """The box whose events these are, by the first that can be read. Raises NotFound."""
    with closing(card.source.events()) as rows:
        for row in rows:
            with contextlib.suppress(BadEvent):
                return chain.read(row.body).link.box
    raise NotFound("no event can be read there")


def proven_runs(card: Card, box: str, keys: Keys) -> Iterator[Run]:
    """The proven events of a card, in order, in pieces that end at a signed head and fit one batch."""
    with closing(card.source.heads()) as heads, closing(card.source.events()) as rows:
        head = next(heads, None)
        events: list[Sealed] = []
        ready: Run | None = None
        for row in rows:
            place = place_of(row.epoch, row.seq)
            sealed = _read(row.body, box)
            behind = ready.events[-1] if ready and not events else events[-1] if events else None
            if sealed is None or behind is None or not _follows(behind, sealed):
                # A hole: what was gathered is as long as it can get, and what no head has proven never will be.
                if ready:
                    yield ready
                events, ready = [], None
            if sealed is None:
                continue
            events.append(sealed)
            while head is not None and head[0] < place:
                head = next(heads, None)
            if head is None or head[0] != place or not _proves(head[1], sealed, box, keys):
                continue
            whole = [*ready.events, *events] if ready else events
            if ready and not _fits(whole):
                yield ready
                whole = events
            ready, events = Run(head[1], whole), []
        if ready:
            yield ready


def _read(body: bytes, box: str) -> Sealed | None:
    try:
        sealed = chain.read(body)
    except BadEvent:
        return None
    return sealed if sealed.link.box == box else None


def _follows(before: Sealed, sealed: Sealed) -> bool:
    place = (before.link.epoch, before.link.seq + 1, before.hash.hex())
    return (sealed.link.epoch, sealed.link.seq, sealed.link.prev) == place


def _proves(envelope: bytes, sealed: Sealed, box: str, keys: Keys) -> bool:
    try:
        head = verify(envelope, HEAD_TYPE, Head, keys)
    except BadSignature:
        return False
    return (head.box, head.epoch, head.seq, head.head) == (
        box,
        sealed.link.epoch,
        sealed.link.seq,
        sealed.hash.hex(),
    )


def _fits(events: list[Sealed]) -> bool:
    size = sum(len(sealed.body) + 1 for sealed in events)
    return len(events) <= _BATCH_EVENTS and size <= _BODIES_BYTES_MAX


async def rescue(
    card: Card, view: RescueView, keys: Keys, cloud: RescueCloud, progress: Progress
) -> RescueReport:
    """Bring all proven runs to head office. Asking again brings nothing twice. Raises CloudUnreachable, CloudRefused

    (but a fork, which is told in the report).
    """
    ends = {row.epoch: row for row in view.epochs}
    # What head office holds of each epoch: up to its end, and what stands loose behind.
    held = {epoch: row.seq for epoch, row in ends.items()}
    recovered = added = 0
    loose: dict[int, int] = {}
    refused: list[str] = []
    runs = proven_runs(card, view.box, keys)
    while (run := await asyncio.to_thread(next, runs, None)) is not None:
        first, last = run.events[0].link, run.events[-1].link
        end = ends.get(last.epoch)
        # Where head office has got to already, the last event of a run is asked about alone: its hash is that of all.
        news = run.events if end is None or last.seq > end.seq else run.events[-1:]
        try:
            batch = await asyncio.to_thread(pack, run.head, [one.body for one in news])
            added += (await cloud.send_rescued(view.box, batch)).added
        except CloudRefused as refusal:
            if refusal.fields.get("problem") != "fork":
                raise
            refused.append(str(refusal))
            continue
        recovered += len(run.events)
        begins, reached = first.seq, held.get(last.epoch, 0)
        if begins <= reached + 1:
            held[last.epoch] = max(reached, last.seq)
        else:
            loose[last.epoch] = loose.get(last.epoch, 0) + len(run.events)
        progress(recovered)
    missing = sum(
        max(0, seq - held.get(epoch, 0) - loose.get(epoch, 0)) for epoch, seq in card.places.items()
    )
    return RescueReport(view.box, recovered, added, missing, card.damaged, refused)
