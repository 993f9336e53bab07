"""What the box makes of its tills' looking for it."""

from appliance.services.multicast import HEARD_S, ISSUE, MulticastWatch
from tests.fakes.clock import FakeClock


def test_without_a_word_nothing_is_known() -> None:
    assert MulticastWatch(FakeClock()).view() == "unknown"


async def test_blocked_is_said_when_a_till_misses_the_box_twice_in_a_row() -> None:
    clock = FakeClock()
    watch = MulticastWatch(clock)

    watch.hear("T1", "unseen")
    watch.hear("T2", "unseen")
    assert watch.view() == "unknown"
    await clock.advance(600.0)
    watch.hear("T1", "unseen")

    assert (watch.view(), watch.issues()) == ("blocked", [ISSUE])


def test_one_till_that_sees_it_clears_it_at_once() -> None:
    watch = MulticastWatch(FakeClock())
    for _ in range(2):
        watch.hear("T1", "unseen")

    watch.hear("T2", "seen")

    assert (watch.view(), watch.issues()) == ("ok", [])


async def test_while_one_sees_it_another_that_does_not_says_nothing() -> None:
    clock = FakeClock()
    watch = MulticastWatch(clock)
    watch.hear("T2", "seen")
    for _ in range(3):
        watch.hear("T1", "unseen")
    assert watch.view() == "ok"

    await clock.advance(HEARD_S + 1)
    for _ in range(2):
        watch.hear("T1", "unseen")
    assert watch.view() == "blocked"


async def test_what_was_heard_long_ago_is_forgotten() -> None:
    clock = FakeClock()
    watch = MulticastWatch(clock)
    for _ in range(2):
        watch.hear("T1", "unseen")

    await clock.advance(HEARD_S + 1)

    assert watch.view() == "unknown"
