"""Which offers a box takes, and when it may disturb its shop."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.update import (
    QUIET_IN_WINDOW_S,
    Here,
    Offer,
    Outcome,
    Reason,
    Version,
    Window,
    higher,
    judge,
    may_disturb,
    read_window,
    release,
)

HERE = Here(version="1.2.0", compatible="storebox-amd64", floor="1.0.0", ended=4, bytes_max=1_000)
numbers = st.integers(0, 99_999)
versions = st.tuples(numbers, numbers, numbers).map(lambda parts: ".".join(map(str, parts)))


def an_offer(**fields: object) -> Offer:
    plain = {
        "number": 5,
        "version": "1.3.0",
        "compatible": "storebox-amd64",
        "sha256": "ab" * 32,
        "size": 1_000,
        "floor": "1.0.0",
    }
    return msgspec.convert(plain | fields, Offer)


def test_a_newer_release_for_this_hardware_is_taken() -> None:
    assert judge(an_offer(), HERE) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"number": 4}, Reason.SUPERSEDED),
        ({"compatible": "storebox-rpi"}, Reason.OTHER_HARDWARE),
        ({"version": "0.9.9"}, Reason.OLDER_THAN_ALLOWED),
        ({"floor": "1.3.1"}, Reason.OLDER_THAN_ALLOWED),
        ({"version": "1.2.0"}, Reason.ALREADY_THERE),
        ({"size": 1_001}, Reason.TOO_LARGE),
    ],
)
def test_others_are_refused_with_a_reason(fields: dict[str, object], reason: Reason) -> None:
    assert judge(an_offer(**fields), HERE) is reason


def test_head_office_may_go_back_as_far_as_the_floor() -> None:
    assert judge(an_offer(version="1.0.0"), HERE) is None
    assert judge(an_offer(version="1.0.0"), HERE._replace(floor="1.1.0")) is Reason.OLDER_THAN_ALLOWED


@given(versions, versions)
def test_versions_are_compared_as_numbers(one: str, other: str) -> None:
    assert higher(one, other) == higher(other, one)
    assert release(higher(one, other)) == max(release(one), release(other))
    assert release("1.10.0") > release("1.9.9")


@given(versions, versions, versions)
def test_nothing_below_a_floor_is_ever_taken(version: str, floor: str, kept: str) -> None:
    verdict = judge(an_offer(version=version, floor=floor), HERE._replace(floor=kept, version="0.0.0"))

    if release(version) < release(higher(floor, kept)):
        assert verdict is Reason.OLDER_THAN_ALLOWED


@pytest.mark.parametrize("text", ["1.2", "1.2.3.4", "01.2.3", "1.2.3\n", "1.2.x", "", "1.2.-3", "100000.0.0"])
def test_what_is_no_version_is_not_read(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Version)


def test_a_long_pause_is_needed_where_no_hours_are_set() -> None:
    assert not may_disturb(899.0, 900.0, None, 180)
    assert may_disturb(900.0, 900.0, None, 180)


def test_hours_need_a_short_pause_and_forbid_the_rest_of_the_day() -> None:
    night = read_window("02:00-05:30")

    assert may_disturb(QUIET_IN_WINDOW_S, 900.0, night, 2 * 60)
    assert not may_disturb(QUIET_IN_WINDOW_S - 1, 900.0, night, 2 * 60)
    assert not may_disturb(86_400.0, 900.0, night, 5 * 60 + 30)


def test_without_a_trusted_clock_hours_say_nothing() -> None:
    night = read_window("02:00-05:30")

    assert may_disturb(900.0, 900.0, night, None)
    assert not may_disturb(QUIET_IN_WINDOW_S, 900.0, night, None)


@given(st.integers(0, 1_439), st.integers(0, 1_439), st.integers(0, 1_439))
def test_hours_may_pass_midnight(begin: int, end: int, minute: int) -> None:
    window = Window(begin, end)
    walked = {(begin + step) % 1_440 for step in range((end - begin) % 1_440)}

    assert window.holds(minute) == (minute in walked)


@pytest.mark.parametrize(
    "text", ["2-5", "02:00", "24:00-01:00", "01:60-02:00", "02:00-02:00", "a:b-c:d", "²2:00-03:00"]
)
def test_hours_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|hours"):
        read_window(text)


def test_no_hours_are_no_window() -> None:
    assert read_window("") is None
    assert read_window("22:30-05:00") == Window(1_350, 300)


def test_offers_and_records_of_a_later_release_are_read() -> None:
    """A box that cannot read them could neither be mended nor say what became of the release that it left."""
    offer = msgspec.to_builtins(an_offer()) | {"more": 1, "notes": {"fr": "a", "en": "b", "de": "c"}}
    outcome = {
        "number": 5,
        "version": "1.3.0",
        "state": "rolled-back",
        "was": "1.2.0",
        "reason": "new",
        "more": 1,
    }

    assert msgspec.convert(offer, Offer).version == "1.3.0"
    assert msgspec.convert(outcome, Outcome).reason == "new"
