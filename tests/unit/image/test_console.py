"""What stands on a box's screen (image/files/usr/lib/storebox/console)."""

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "image/files/usr/lib/storebox/console"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A box that is on, and not let in; its programs say next to nothing."""
    (tmp_path / "slot").write_text("a\n")
    for name, script in (("systemctl", ":"), ("ip", ":"), ("storebox", "echo its code")):
        program(tmp_path, name, script)
    return tmp_path


def program(box: Path, name: str, script: str) -> None:
    (box / name).write_text(f"#!/bin/sh\n{script}\n")
    (box / name).chmod(0o755)


def screen(box: Path) -> str:
    """What stands there once the program ended."""
    text = PROGRAM.read_text()
    for place, here in (
        ("/var/lib/storebox/enrolment.json", "enrolment.json"),
        ("/run/storebox-slot", "slot"),
        ("/dev/console", "serial"),
        ("/dev/tty1", "screen"),
    ):
        assert place in text
        text = text.replace(place, str(box / here))
    environment = {"PATH": f"{box}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", text], env=environment, capture_output=True, check=True)
    assert not (box / "serial").exists() or (box / "serial").read_text() == (box / "screen").read_text()
    return (box / "screen").read_text() if (box / "screen").exists() else ""


def test_a_box_that_is_not_let_in_shows_its_code(box: Path) -> None:
    said = screen(box).splitlines()

    assert said[0].startswith("storebox: unclaimed, slot a, ")
    assert said[1:] == ["its code"]


def test_one_that_is_in_shows_that_it_serves_and_no_code(box: Path) -> None:
    (box / "enrolment.json").touch()

    assert screen(box).startswith("storebox: READY, slot a, ")
    assert "code" not in screen(box)


def test_one_that_is_let_in_while_its_code_is_drawn_ends_as_served(box: Path) -> None:
    program(box, "storebox", f"touch {box}/enrolment.json; echo its code")

    assert screen(box).startswith("storebox: READY, slot a, ")


def test_one_that_does_not_run_says_nothing(box: Path) -> None:
    program(box, "systemctl", "exit 3")

    assert screen(box) == ""
