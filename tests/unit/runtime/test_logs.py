"""Logs: one JSON object a line."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.runtime.logs import JsonFormatter, log_to_stderr


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Let a test change the process's logging, and put everything back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ours = {name: logging.getLogger(name).level for name in ("appliance", "cloud", "till")}
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in ours.items():
        logging.getLogger(name).setLevel(before)


def formatted(message: str, *args: object, exc_info: Any = None, **extra: Any) -> dict[str, Any]:
    record = logging.getLogger("x").makeRecord(
        "x", logging.WARNING, "f", 1, message, args, exc_info, extra=extra
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_record_is_its_level_its_event_and_its_extra_fields() -> None:
    assert formatted("sale.accepted", seq=7, till="é\n") == {
        "level": "warning",
        "event": "sale.accepted",
        "seq": 7,
        "till": "é\n",
    }


def test_arguments_are_put_into_the_message() -> None:
    assert formatted("%s of %d", "one", 2)["event"] == "one of 2"


def test_what_json_does_not_know_is_told_as_text() -> None:
    assert formatted("x", path=Path("/a"), raw=b"\xff", error=ValueError("why")) == {
        "level": "warning",
        "event": "x",
        "path": "/a",
        "raw": "b'\\xff'",
        "error": "why",
    }


def test_a_field_cannot_pose_as_the_level_or_the_event() -> None:
    record = formatted("sale.refused", level="info", event="sale.accepted")

    assert (record["level"], record["event"]) == ("warning", "sale.refused")


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        entry = formatted("service.crashed", exc_info=sys.exc_info())

    assert entry["traceback"].splitlines()[-1] == "RuntimeError: broken"


@pytest.mark.usefixtures("logging_as_it_was")
def test_our_words_go_to_stderr_and_of_libraries_only_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    for name in ("appliance.services.drain", "cloud.ingest", "till.client", "zeroconf"):
        logging.getLogger(name).debug("debug")
        logging.getLogger(name).info("info")
        logging.getLogger(name).warning("warning", extra={"by": name})
    captured = capsys.readouterr()

    entries = [json.loads(line) for line in captured.err.splitlines()]
    assert [entry["event"] for entry in entries] == ["info", "warning"] * 3 + ["warning"]
    assert entries[-1] == {"level": "warning", "event": "warning", "by": "zeroconf"}
    assert captured.out == ""


@pytest.mark.usefixtures("logging_as_it_was")
def test_the_level_is_ours_alone(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.DEBUG)
    logging.getLogger("appliance.x").debug("ours")
    logging.getLogger("zeroconf").debug("theirs")

    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["ours"]
