"""The screen: all that matters is on it, in a terminal of 80 columns and 24 lines."""

import random
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession
from rich.console import Console

from appliance.domain.wire import EpochRow, ModeView
from demo.books import Door, Reader
from demo.desk import Desk
from demo.faults import Refuse, Swallow
from demo.hearing import Hearing
from demo.line import open_line
from demo.outages import PHASES, Count, Edges
from demo.places import TILLS, Memory, Places
from demo.run import SLOW_LATENCY_S, Controls
from demo.screen import Screen, print_tally
from demo.tally import Tally
from demo.watch import Watch
from demo.weather import Gust
from tests.fakes.clock import FakeClock
from tests.fakes.statuses import a_status


class Stage:
    """A desk without programs: only what the screen looks at."""

    def __init__(self, desk: Desk, hearing: Hearing, watch: Watch, clock: FakeClock) -> None:
        self.desk = desk
        self.clock = clock
        self.hearing = hearing
        self.watch = watch
        self.controls = Controls(desk, hearing, clock)
        self.screen = Screen(desk, hearing, watch, self.controls, 60.0)

    def text(self) -> str:
        console = Console(file=StringIO(), width=80, height=24, force_terminal=True, color_system=None)
        console.print(self.screen)
        assert isinstance(console.file, StringIO)
        return console.file.getvalue()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = FakeClock()
    async with open_line(("127.0.0.1", 9), clock, random.Random(1)) as line, ClientSession() as session:
        nowhere = Reader(session, Door("http://127.0.0.1:9", "any"))
        desk = Desk(Places(tmp_path), Memory(), line, "http://127.0.0.1:9")
        made = Stage(desk, Hearing(TILLS, tmp_path, clock), Watch(lambda: nowhere, nowhere, clock), clock)
        made.watch.answers = True
        made.watch.status = a_status(2)
        made.watch.epochs = [EpochRow("sb-aaaaaaaaaaaaaaaa", 1, 8, "cd" * 32)]
        yield made


async def test_everything_fits_a_small_terminal(stage: Stage) -> None:
    for number in range(20):
        stage.hearing.note("T1", f"news {number} " + "that is much too long for a line " * 5)
    stage.controls.cut()
    stage.watch.status = a_status(
        123_456, mode=ModeView("local", "offline", "captive-portal", "x"), state="offline"
    )

    lines = stage.text().splitlines()

    assert len(lines) <= 23
    assert any("stop, tally" in line and "gust" in line for line in lines)
    assert max(map(len, lines)) <= 80


async def test_it_shows_journal_backlog_cloud_and_catalogue(stage: Stage) -> None:
    text = stage.text()

    assert "epoch 1, seq 10, head abababab" in text
    assert "2 events wait" in text
    assert "epoch 1, seq 8, head cdcdcdcd" in text
    assert "version 1, 500 articles" in text


async def test_it_shows_mode_and_cause_in_words(stage: Stage) -> None:
    stage.watch.status = a_status(mode=ModeView("local", "offline", "no-answer", "x"), state="offline")

    assert "offline, proposes local mode: head office gives no answer" in stage.text()


async def test_it_shows_how_the_line_is(stage: Stage) -> None:
    assert "carries" in stage.text()

    stage.controls.slow()
    assert f"SLOW: {SLOW_LATENCY_S:g} s each way" in stage.text()

    stage.controls.cut()
    assert "CUT for 0 s" in stage.text()

    await stage.controls.mend()
    assert "carries" in stage.text()
    assert stage.desk.line.condition.slow is False


async def test_a_gust_is_told_and_ends_by_itself(stage: Stage) -> None:
    stage.controls.begin_gust(Gust([Swallow("down")], "answers are lost", 3.0))
    stage.controls.begin_gust(Gust([Refuse()], "connections are refused", 60.0))
    await stage.clock.advance(1.0)

    assert "WEATHER: answers are lost" in stage.text()
    assert "line WEATHER: answers are lost (1 gusts so far)" in stage.screen.progress()
    assert stage.desk.line.faults == [Swallow("down")]

    await stage.clock.advance(2.5)

    assert "carries" in stage.text()
    assert stage.desk.line.faults == []
    assert [gust.mended_s - gust.cut_s for gust in stage.controls.gusts] == [3.0]


async def test_a_mended_line_is_calm_even_when_a_gust_has_just_begun(stage: Stage) -> None:
    stage.controls.begin_gust(Gust([Refuse()], "connections are refused", 60.0))
    await stage.clock.advance(1.0)

    await stage.controls.mend()

    assert stage.desk.line.faults == []
    assert stage.controls.gust is None


async def test_a_box_that_does_not_answer_is_shown_as_such(stage: Stage) -> None:
    stage.watch.answers = False

    assert "the box does not answer" in stage.text()
    assert "the box does not answer" in stage.screen.progress()


async def test_progress_is_one_line(stage: Stage) -> None:
    line = stage.screen.progress()

    assert "\n" not in line
    assert "journal 1/10 abababab, backlog 2; cloud epoch 1, seq 8" in line


async def test_a_second_cut_during_a_cut_is_the_same_cut(stage: Stage) -> None:
    stage.controls.cut()
    stage.controls.cut()
    await stage.controls.mend()
    await stage.controls.mend()

    assert len(stage.controls.outages) == 1


def a_tally(**overrides: object) -> Tally:
    tally = Tally(
        accepted=10,
        by_cloud=4,
        by_box=6,
        waiting=0,
        in_cloud=10,
        events=8,
        lost=0,
        doubled=0,
        altered=0,
        out_of_order=0,
        unexpected=0,
        operations={phase: Count() for phase in PHASES},
        edges=[Edges(15.0, 35.0, 2, 2, 2, due_local=True, due_cloud=True)],
        findings=[],
    )
    return msgspec.structs.replace(tally, **overrides)


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        (a_tally(), "each accepted sale is in the cloud exactly once"),
        (
            a_tally(lost=1, findings=["lost: ticket 7 of T1"]),
            "lost: ticket 7 of T1\n\nTHE TALLY DOES NOT HOLD",
        ),
    ],
)
def test_the_tally_ends_with_a_verdict(tally: Tally, verdict: str) -> None:
    console = Console(file=StringIO(), width=100)

    print_tally(tally, console)

    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().strip().endswith(verdict)
