"""Walk the events of one box from where they begin, and name the first fault. One walker for every source of them.

A source is a journal's file, an export, or what could be read of a dead box's card. Nothing is trusted but keys.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Protocol

import msgspec

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent, ChainFault, StoreboxError
from appliance.domain.event import GENESIS, Position
from appliance.domain.statements import HEAD_TYPE, RECEIPT_TYPE, Head, Keys, Receipt, verify
from appliance.storage.journal_tables import Row, epoch_and_seq, place_of
from appliance.storage.kept import anchored

PROGRESS_EVERY = 10_000

Progress = Callable[[int], None]


class Fault(msgspec.Struct, frozen=True):
    """The first thing that does not hold: its place, the stable code of its kind, and a sentence."""

    epoch: int
    seq: int
    code: str
    detail: str


class Found(Exception):
    """The walk ends at a fault."""

    def __init__(self, place: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(*epoch_and_seq(place), code, detail)


class Source(Protocol):
    """Where events come from. Nothing it gives is believed."""

    def anchors(self) -> Mapping[int, bytes]:
        """The envelope of each epoch's anchor, for epochs that were pruned."""
        ...

    def receipts(self) -> Mapping[int, bytes]:
        """The envelope of each epoch's last receipt."""
        ...

    def heads(self) -> Generator[tuple[int, bytes], None, None]:
        """Every signed head as (place, envelope), in order."""
        ...

    def events(self) -> Generator[Row, None, None]:
        """Every event, in order of the chain."""
        ...


class Walk:
    """One pass over one source; its counts are true also when it ended at a fault."""

    def __init__(self, box: str, keys: Keys, cloud_keys: Keys, progress: Progress) -> None:
        self._box = box
        self._keys = keys
        self._cloud_keys = cloud_keys
        self._progress = progress
        self._begins: dict[int, Position] = {}
        self._receipts: dict[int, Receipt] = {}
        self.events = self.sales = self.epochs = self.heads = self.pruned = 0

    def run(self, source: Source) -> None:
        """Check every event's place and hash, that each epoch is gapless from its beginning (seq 1, or a signed

        anchor), every signed head, that the last event of each epoch stands under one, and that no receipt names
        events that are gone. Raises Found.
        """
        self._read_anchors(source.anchors())
        if self._cloud_keys:  # a receipt proves nothing without them
            self._read_receipts(source.receipts())
        with closing(source.heads()) as heads, closing(source.events()) as events:
            self._walk(self._live_heads(heads), events)
        for receipt in self._receipts.values():
            place = place_of(receipt.epoch, receipt.seq)
            raise Found(place, "truncated", "the cloud's receipt names events that are gone")

    def _walk(self, heads: Iterator[tuple[int, bytes]], events: Iterable[Row]) -> None:
        end, covered = Position(0, 0, GENESIS), True
        next_head = next(heads, None)
        for row in events:
            if row.epoch < end.epoch:
                raise Found(place_of(row.epoch, row.seq), "bad-event", f"it stands behind epoch {end.epoch}")
            if row.epoch != end.epoch:
                self._check_end(end, covered)
                end = self._begins.get(row.epoch) or Position(row.epoch, 0, GENESIS)
                self._begins[row.epoch] = end
                self.epochs += 1
            end, covered = self._follow(end, row), False
            self.events += 1
            place = place_of(row.epoch, row.seq)
            if next_head is not None and next_head[0] == place:
                self._check_head(end, next_head[1])
                next_head, covered = next(heads, None), True
            if next_head is not None and next_head[0] < place:
                raise Found(next_head[0], "stray-head", "a signed head stands where no event does")
            self._check_receipt(end)
            if self.events % PROGRESS_EVERY == 0:
                self._progress(self.events)
        self._check_end(end, covered)
        if next_head is not None:
            raise Found(next_head[0], "truncated", "a signed head vouches for events that are gone")

    def _read_anchors(self, anchors: Mapping[int, bytes]) -> None:
        for epoch, envelope in anchors.items():
            try:
                self._begins[epoch] = anchored(envelope, epoch, box=self._box, keys=self._keys)
            except StoreboxError as error:
                raise Found(place_of(epoch, 0), error.code, f"the anchor: {error}") from error
            self.pruned += self._begins[epoch].seq

    def _read_receipts(self, receipts: Mapping[int, bytes]) -> None:
        for epoch, envelope in receipts.items():
            try:
                receipt = verify(envelope, RECEIPT_TYPE, Receipt, self._cloud_keys)
            except StoreboxError as error:
                raise Found(place_of(epoch, 0), error.code, f"the receipt: {error}") from error
            if (receipt.box, receipt.epoch) != (self._box, epoch):
                raise Found(place_of(epoch, 0), "altered", "the receipt is of another box or epoch")
            self._receipts[epoch] = receipt
        for begin in self._begins.values():
            held = self._receipts.get(begin.epoch)
            if held is None or held.seq < begin.seq:
                place = place_of(begin.epoch, begin.seq)
                raise Found(place, "unreceipted", "events were pruned without a receipt")
            self._check_receipt(begin)

    def _live_heads(self, heads: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """The heads over events that are here; those kept for the acks of pruned sales are checked on the way."""
        for place, envelope in heads:
            epoch, seq = epoch_and_seq(place)
            if (begin := self._begins.get(epoch)) is None or seq > begin.seq:
                yield place, envelope
            elif self._head(place, envelope).position.seq != seq:
                raise Found(place, "altered", "the signed head names another place than it stands at")

    def _head(self, place: int, envelope: bytes) -> Head:
        try:
            head = verify(envelope, HEAD_TYPE, Head, self._keys)
        except StoreboxError as error:
            raise Found(place, error.code, f"the signed head: {error}") from error
        if head.box != self._box:
            raise Found(place, "altered", f"the signed head is of {head.box}")
        self.heads += 1
        return head

    def _follow(self, end: Position, row: Row) -> Position:
        try:
            sealed = chain.read(row.body)
            if (sealed.link.epoch, sealed.link.seq) != (row.epoch, row.seq):
                raise BadEvent(f"the row holds event {sealed.link.epoch}/{sealed.link.seq}")
            self.sales += sealed.link.kind == "sale"
            return chain.follow(end, sealed, box=self._box)
        except ChainFault as error:
            raise Found(place_of(row.epoch, row.seq), error.code, str(error)) from error

    def _check_head(self, end: Position, envelope: bytes) -> None:
        place = place_of(end.epoch, end.seq)
        if self._head(place, envelope).position != end:
            raise Found(place, "altered", "the signed head names another event than the one that stands here")

    def _check_receipt(self, end: Position) -> None:
        receipt = self._receipts.get(end.epoch)
        if receipt is None or receipt.seq != end.seq:
            return
        if receipt.position != end:
            raise Found(
                place_of(end.epoch, end.seq), "fork", "the cloud's receipt names another event than this one"
            )
        del self._receipts[end.epoch]

    def _check_end(self, end: Position, covered: bool) -> None:
        if not covered:
            raise Found(
                place_of(end.epoch, end.seq),
                "unsigned-tail",
                "the epoch's last event is under no signed head",
            )
