"""Strangers get a fair place and no more; who pays at a till keeps theirs."""

import logging
from dataclasses import dataclass

import pytest

from appliance.runtime.guard import TOLD_S, Guard, Visit
from tests.fakes.clock import FakeClock


@dataclass(frozen=True)
class Bounds:
    connections_max: int = 8
    connections_per_address: int = 3
    handshakes_max: int = 4
    handshakes_per_address: int = 2
    handshake_s: float = 5.0
    first_request_s: float = 10.0
    idle_s: float = 75.0
    request_s: float = 60.0
    write_s: float = 30.0


class Transport:
    """A connection as the guard sees it."""

    def __init__(self) -> None:
        self.gone = False
        self.unsent = 0

    def abort(self) -> None:
        self.gone = True

    def is_closing(self) -> bool:
        return self.gone

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Port:
    """A guard, and connections to it."""

    def __init__(self, **bounds: int) -> None:
        self.clock = FakeClock()
        self.guard = Guard(Bounds(**bounds), self.clock)

    def shaking(self, address: str) -> tuple[Visit | None, Transport]:
        transport = Transport()
        return self.guard.admit(address, transport.abort), transport

    def opened(self, address: str) -> Transport:
        visit, transport = self.shaking(address)
        assert visit is not None
        self.guard.opened(visit, transport)
        return transport

    def till(self, address: str) -> Transport:
        """One that has sold."""
        transport = self.opened(address)
        self.guard.busy(transport)
        self.guard.idle(transport, 300.0)
        return transport

    async def after(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        self.guard.sweep()


def test_an_address_has_so_many_connections_and_gets_another_when_one_ends() -> None:
    port = Port()
    first, *_ = [port.opened("10.0.0.7") for _ in range(3)]

    assert port.shaking("10.0.0.7")[0] is None
    assert port.shaking("10.0.0.8")[0] is not None
    first.abort()
    assert port.shaking("10.0.0.7")[0] is not None


def test_an_address_shakes_so_many_hands_at_once() -> None:
    port = Port()
    one, _ = port.shaking("10.0.0.7")
    port.shaking("10.0.0.7")

    assert port.shaking("10.0.0.7")[0] is None
    assert one is not None
    port.guard.failed(one, "handshake")
    assert port.shaking("10.0.0.7")[0] is not None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:10.0.0.7", "10.0.0.7", True),
    ],
)
def test_a_host_counts_once_though_it_has_many_addresses(one: str, other: str, same: bool) -> None:
    port = Port()
    for _ in range(3):
        port.opened(one)

    assert (port.shaking(other)[0] is None) == same


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_the_boxs_own_programs_are_not_counted_by_address(address: str) -> None:
    port = Port()
    assert [port.opened(address) for _ in range(8)]


def test_when_all_places_are_taken_the_oldest_stranger_makes_room_and_never_a_till() -> None:
    port = Port(connections_max=3)
    till = port.till("10.0.0.1")
    oldest = port.opened("10.0.0.2")
    newer = port.opened("10.0.0.3")

    port.opened("10.0.0.4")

    assert (till.gone, oldest.gone, newer.gone) == (False, True, False)


def test_when_all_places_are_tills_a_stranger_waits_outside() -> None:
    port = Port(connections_max=2)
    tills = [port.till("10.0.0.1"), port.till("10.0.0.2")]

    assert port.shaking("10.0.0.3")[0] is None
    assert not any(till.gone for till in tills)


def test_stalled_handshakes_make_room_for_the_next_one() -> None:
    port = Port()
    stalled = [port.shaking(f"10.0.0.{n}") for n in range(4)]

    visit, transport = port.shaking("10.0.1.1")

    assert visit is not None
    assert [transport.gone for _, transport in stalled] == [True, False, False, False]
    port.guard.opened(visit, transport)
    assert not transport.gone


def test_who_made_room_in_the_moment_of_finishing_is_gone() -> None:
    port = Port()
    visit, _ = port.shaking("10.0.0.1")
    for n in range(2, 6):
        port.shaking(f"10.0.0.{n}")
    assert visit is not None
    finished = Transport()

    port.guard.opened(visit, finished)

    assert finished.gone


async def test_who_says_nothing_is_cut_off() -> None:
    port = Port()
    _, shaking = port.shaking("10.0.0.1")
    silent = port.opened("10.0.0.2")
    stranger = port.opened("10.0.0.3")
    port.guard.busy(stranger)
    port.guard.idle(stranger, None)
    till = port.till("10.0.0.4")

    await port.after(4.9)
    assert not shaking.gone
    await port.after(0.1)
    assert shaking.gone
    assert not silent.gone
    await port.after(5.0)
    assert silent.gone
    assert stranger.gone
    await port.after(289.0)
    assert not till.gone
    await port.after(1.0)
    assert till.gone


async def test_a_request_that_is_not_answered_is_cut_and_a_stream_goes_on() -> None:
    port = Port()
    hanging, streaming = port.opened("10.0.0.1"), port.opened("10.0.0.2")
    port.guard.busy(hanging, lambda: False)
    port.guard.busy(streaming, lambda: True)

    await port.after(59.9)
    assert not hanging.gone
    await port.after(100.0)
    assert hanging.gone
    assert not streaming.gone


async def test_who_does_not_take_the_answer_is_cut_and_who_takes_it_slowly_is_not() -> None:
    port = Port()
    stuck, slow = port.opened("10.0.0.1"), port.opened("10.0.0.2")
    for transport in (stuck, slow):
        port.guard.busy(transport, lambda: True)
        transport.unsent = 60_000
    await port.after(1.0)
    for _ in range(4):
        slow.unsent -= 1_000
        stuck.unsent += 1_000
        await port.after(9.9)

    assert stuck.gone
    assert not slow.gone


async def test_refusals_are_told_once_a_minute_in_sums(caplog: pytest.LogCaptureFixture) -> None:
    port = Port()
    for _ in range(3):
        port.opened("10.0.0.7")
    for _ in range(1_000):
        port.shaking("10.0.0.7")

    with caplog.at_level(logging.WARNING):
        await port.after(TOLD_S)
        await port.after(TOLD_S)

    told = [(r.address, r.why, r.times) for r in caplog.records]  # type: ignore[attr-defined]
    assert told == [("10.0.0.7", "connections", 1_000), ("10.0.0.7", "slow", 3)]


def test_a_flood_from_many_addresses_is_remembered_in_a_bounded_place() -> None:
    port = Port(connections_max=5)
    for n in range(10_000):
        port.guard.refuse(f"10.{n >> 8 & 255}.{n & 255}.1", "full")

    assert len(port.guard._refused) <= 6
