"""What a box says that could not start for a while, and when it forgets it."""

import asyncio
from pathlib import Path

from appliance.services.aftermath import STEADY_S, Aftermath
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import FakeRecorder

LIST = "reboot boot-1\nreboot boot-2\nreboot boot-3\ndegraded boot-4\n"


async def test_it_is_told_at_the_next_start_and_forgotten_after_a_steady_while(tmp_path: Path) -> None:
    path, recorder, clock = tmp_path / "forced-reboots", FakeRecorder(), FakeClock()
    path.write_text(LIST)
    aftermath = Aftermath(path, recorder, clock)
    task = asyncio.create_task(aftermath.run())

    await clock.advance(STEADY_S - 1)
    assert recorder.recorded == [("starts_failed", {"reboots": 3, "degraded": 1}, None)]
    assert aftermath.issues() == ["failed-starts"]
    assert path.read_text() == LIST

    await clock.advance(1)
    assert aftermath.issues() == []
    assert not path.exists()
    task.cancel()


async def test_a_box_that_starts_as_it_should_has_nothing_to_tell(tmp_path: Path) -> None:
    recorder = FakeRecorder()
    aftermath = Aftermath(tmp_path / "forced-reboots", recorder, FakeClock())

    await aftermath.tell()

    assert recorder.recorded == []
    assert aftermath.issues() == []


def test_a_steady_while_is_longer_than_the_unit_counts_starts() -> None:
    unit = (Path(__file__).parents[2] / "systemd/storebox.service").read_text()

    assert "StartLimitIntervalSec=12min\n" in unit
    assert STEADY_S > 720
