"""The judge after a cut: opens what is left as the daemon does, and holds every promise against it.

One judge for both campaigns: the real cuts and the enumerated crash points.
"""

import asyncio
from contextlib import closing
from pathlib import Path

import msgspec

from appliance.domain.errors import StoreboxError
from appliance.runtime.database import open_reader
from appliance.services.verification import verify_journal
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Entry
from appliance.storage.journal import Journal, open_journal
from campaigns.powercut.sales import BOX, BOX_KEYS, SEALER, draft_of

Place = tuple[int, int, str]


class Ledger(msgspec.Struct):
    """What the box has promised to the world: acked sales at their places, receipts; and what it was merely sent."""

    acked: dict[int, Place] = {}
    receipts: dict[int, int] = {}
    sent: set[int] = set()

    def note(self, line: str) -> str | None:
        """Take in a line that a workload told; returns the broken promise when the line tells of one."""
        match line.split():
            case ["try", number]:
                self.sent.add(int(number))
            case ["ack", number, epoch, seq, digest]:
                place = (int(epoch), int(seq), digest)
                if self.acked.setdefault(int(number), place) != place:
                    return f"sale {number} was acked at {self.acked[int(number)]} and at {place}"
            case ["receipt", epoch, seq]:
                self.receipts[int(epoch)] = max(int(seq), self.receipts.get(int(epoch), 0))
            case ["wrong:", *_]:
                return line.removeprefix("wrong: ")
            case _:
                pass  # the journal stopped, or the process died: no promise
        return None


class Verdict(msgspec.Struct):
    """What does not hold, how many acked sales are gone, and the acks that sending everything again gave."""

    broken: list[str] = []
    lost: int = 0
    acked: dict[int, Place] = {}


def judge(path: Path, ledger: Ledger) -> Verdict:
    """Open the journal and hold the promises against it. Sends every sale again, as tills do; so it may grow."""
    verdict = Verdict()
    try:
        asyncio.run(_judge_open(path, ledger, verdict))
    except StoreboxError as error:
        verdict.broken.append(f"the journal does not open: {error}")
        verdict.lost = len(ledger.acked)
        return verdict
    finding = verify_journal(path, BOX, BOX_KEYS, lambda _: None)
    if finding.fault is not None:
        verdict.broken.append(f"the chain does not verify: {finding.fault}")
    _find_doubles(path, verdict)
    return verdict


async def _judge_open(path: Path, ledger: Ledger, verdict: Verdict) -> None:
    async with open_journal(path, SEALER) as journal:
        kept = []
        for number, place in ledger.acked.items():
            entry = journal.sale(draft_of(number).sale_key or b"")
            if entry is None:
                verdict.lost += 1
                verdict.broken.append(f"acked sale {number} is gone from {place}")
            elif place_of(entry) != place:
                verdict.lost += 1
                verdict.broken.append(f"acked sale {number} stands at {place_of(entry)}, not at {place}")
            else:
                kept.append(number)
        for epoch, seq in ledger.receipts.items():
            if journal.synced().get(epoch, 0) < seq:
                verdict.broken.append(f"the receipt for {epoch}/{seq} is gone")
        await _send_again(journal, kept, verdict, known=True)
        unsure = sorted(ledger.sent - ledger.acked.keys())
        await _send_again(journal, unsure, verdict, known=False)
        await _send_again(journal, unsure, verdict, known=True)


async def _send_again(journal: Journal, numbers: list[int], verdict: Verdict, *, known: bool) -> None:
    """Replay some sales; all at once, as tills do when a box comes back."""
    entries = await asyncio.gather(*(journal.append(draft_of(number)) for number in numbers))
    for number, entry in zip(numbers, entries, strict=True):
        place = verdict.acked.setdefault(number, place_of(entry))
        if place != place_of(entry) or (known and not entry.known):
            verdict.broken.append(f"sale {number} sent again got {place_of(entry)}, known: {entry.known}")


def place_of(entry: Entry) -> Place:
    """The place and the hash of an entry."""
    return entry.position.epoch, entry.position.seq, entry.position.head.hex()


class _SaleId(msgspec.Struct):
    sale_id: str


class _Data(msgspec.Struct):
    sale: _SaleId


class _Sale(msgspec.Struct):
    kind: str
    data: _Data


def _find_doubles(path: Path, verdict: Verdict) -> None:
    seen = set()
    with closing(open_reader(path)) as reader, closing(tables.events(reader, 0)) as rows:
        for row in rows:
            if b'"kind":"sale",' not in row.body:
                continue
            sale_id = msgspec.json.decode(row.body, type=_Sale).data.sale.sale_id
            if sale_id in seen:
                verdict.broken.append(f"sale {sale_id} stands twice, also at {row.epoch}/{row.seq}")
            seen.add(sale_id)
