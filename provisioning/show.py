"""What a technician sees: progress on standard error, one answer on standard output."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

# Without a terminal a line stands for each such part of a long step.
PARTS = 10


def step(text: str) -> None:
    """Say what is being done, or what came of it."""
    print(text, file=sys.stderr, flush=True)


def answer(args: argparse.Namespace, data: object, text: str) -> None:
    """The one answer of a command: an object for programs, or a text for people."""
    print(msgspec.json.encode(data).decode() if args.json else text, flush=True)


@contextmanager
def bar(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """A long step of that many bytes; the yielded function is told of each piece that is done."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(text, total=total or None)
            yield lambda count: progress.advance(task, count)
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if total and done * PARTS // total > before * PARTS // total:
            step(f"{text}: {done * 100 // total} %")

    step(text)
    yield advance
