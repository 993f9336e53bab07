"""What systemd hears."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.runtime.notify import EXTENSION_S, is_watched, notify, still_starting


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that listens as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_each_state_is_one_datagram(systemd: socket.socket) -> None:
    notify("READY=1")
    notify("STATUS=42 sales wait")

    assert systemd.recv(100) == b"READY=1"
    assert systemd.recv(100) == b"STATUS=42 sales wait"


def test_a_start_that_gets_on_asks_for_more_time(systemd: socket.socket) -> None:
    still_starting()

    assert systemd.recv(100) == f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 1_000_000}".encode()


def test_an_abstract_socket_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"storebox-test-{tmp_path}"[-90:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("STOPPING=1")

        assert listener.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    notify("READY=1")

    assert caplog.records == []


def test_a_socket_that_is_gone_costs_a_warning_and_not_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING):
        notify("READY=1")

    assert [record.message for record in caplog.records] == ["notify.failed"]


async def test_a_listener_that_does_not_read_stops_nobody(
    systemd: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5_000):
            notify("WATCHDOG=1")
            if caplog.records:
                break

    assert caplog.records
    assert systemd.recv(100) == b"WATCHDOG=1"


def test_only_a_service_that_systemd_watches_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert not is_watched()
    monkeypatch.setenv("WATCHDOG_USEC", "24000000")
    assert is_watched()
