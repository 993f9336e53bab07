"""The limits of the disk: bare fdatasyncs, and bare SQLite group commits of the journal's own rows.

`python -m bench.disk FILE SECONDS` measures the fdatasyncs in a process of its own, and prints an `Outcome` as JSON.
"""

import itertools
import os
import random
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec.structs import replace

from appliance.domain.catalogue import Article
from appliance.domain.event import GENESIS, ClockReading, Position, seal
from appliance.runtime.clock import rfc3339
from appliance.storage import journal_tables as tables
from appliance.storage.packing import Packer
from bench.load import Outcome, outcome
from bench.sales import OPENING, fresh_ids, make_sales

BLOCK_BYTES = 4096
# Written round and round: a file that grows would also pay for its own metadata.
BLOCKS = 256
# As long as the envelope of a signed head, packed.
HEAD = random.Random(1).randbytes(190)
BODIES = 256


def fdatasyncs(file: Path, seconds: float) -> Outcome:
    """One block after another into written space, each on disk before the next."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    block = bytes(BLOCK_BYTES)
    try:
        os.pwrite(descriptor, block * BLOCKS, 0)
        os.fsync(descriptor)
        places = itertools.cycle(range(BLOCKS))

        def sync() -> None:
            os.pwrite(descriptor, block, next(places) * BLOCK_BYTES)
            os.fdatasync(descriptor)

        return timed(sync, seconds)
    finally:
        os.close(descriptor)


def group_commits(file: Path, bodies: Sequence[bytes], rows: int, seconds: float) -> Outcome:
    """Groups of `rows` events, each in one transaction: WAL, synchronous=FULL, SQLite's own checkpoints.

    The outcome counts rows; its times are those of whole commits. The file begins anew.
    """
    for side in ("", "-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript((tables.SCHEMA / "0001_initial.sql").read_text())
        body, ids, seqs = itertools.cycle(bodies), fresh_ids(random.Random(1)), itertools.count(1)

        packer = Packer()

        def commit() -> None:
            places = [tables.place_of(1, next(seqs)) for _ in range(rows)]
            events = [(place, next(body)) for place in places]
            sales = [(uuid.UUID(next(ids)).bytes, place) for place in places]
            connection.execute("BEGIN IMMEDIATE")
            tables.insert_events(connection, events, packer)
            tables.insert_sales(connection, sales)
            tables.insert_head(connection, places[-1], HEAD, packer)
            connection.execute("COMMIT")

        done = timed(commit, seconds)
    return replace(done, answers=done.answers * rows, served=done.served * rows, per_s=done.per_s * rows)


def event_bodies(articles: Sequence[Article]) -> list[bytes]:
    """Events of sales, as long as the journal's."""
    reading, at = ClockReading("floor", str(uuid.UUID(int=0)), 10**15), rfc3339(OPENING)
    sales = itertools.islice(make_sales(articles, "till-1", random.Random(1)), BODIES)
    end = Position(1, 10**6, GENESIS)
    return [
        seal(
            end,
            box="sb-" + "a" * 16,
            kind="sale",
            till="till-1",
            at=at,
            clock=reading,
            data={"flags": [], "sale": sale},
        ).body
        for sale in sales
    ]


def timed(job: Callable[[], object], seconds: float) -> Outcome:
    """Repeat a job for so long; how often it was done, and how long one took."""
    taken_ns: list[int] = []
    began = last = time.perf_counter_ns()
    until = began + int(seconds * 1e9)
    while last < until:
        job()
        now = time.perf_counter_ns()
        taken_ns.append(now - last)
        last = now
    return outcome(taken_ns, (last - began) / 1e9)


def main() -> None:
    """Fdatasyncs in this process, with whatever its environment does to them."""
    sys.stdout.buffer.write(msgspec.json.encode(fdatasyncs(Path(sys.argv[1]), float(sys.argv[2]))))


if __name__ == "__main__":
    main()
