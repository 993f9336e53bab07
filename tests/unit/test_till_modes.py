"""The mode machine: proposals, own experience, and no flapping."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.wire import ModeView
from till import modes
from till.modes import HOLD_MAX_S, HOLD_S, Change, Modes, between_tickets

LOCAL = ModeView("local", "offline", "no-answer", "2026-11-22T09:00:00Z")
CLOUD = ModeView("cloud", "online", "ok", "2026-11-22T08:00:00Z")
CLOUD_AGAIN = ModeView("cloud", "online", "ok", "2026-11-22T10:00:00Z")


def mode_after(state: Modes, now_s: float = 0.0) -> str:
    return between_tickets(state, now_s)[0].mode


def test_a_till_with_two_ways_begins_with_the_cloud() -> None:
    assert mode_after(modes.begin(two_ways=True)) == "cloud"


def test_a_till_without_a_cloud_is_local_whatever_is_proposed() -> None:
    state = modes.heard(modes.begin(two_ways=False), CLOUD)

    assert between_tickets(state, 0.0) == (state, None)
    assert state.mode == "local"


def test_a_proposal_changes_nothing_until_between_tickets() -> None:
    state = modes.heard(modes.begin(two_ways=True), LOCAL)
    assert state.mode == "cloud"

    state, change = between_tickets(state, 0.0)

    assert state.mode == "local"
    assert change == Change("cloud", "local", "no-answer", "box")


def test_a_change_is_told_once() -> None:
    state, _ = between_tickets(modes.heard(modes.begin(two_ways=True), LOCAL), 0.0)

    assert between_tickets(state, 0.0) == (state, None)


def test_the_box_offers_the_way_back() -> None:
    state, _ = between_tickets(modes.heard(modes.begin(two_ways=True), LOCAL), 0.0)
    state, change = between_tickets(modes.heard(state, CLOUD_AGAIN), 1.0)

    assert change == Change("local", "cloud", "ok", "box")


def test_a_failed_cloud_makes_the_till_local_though_the_box_still_says_cloud() -> None:
    state = modes.cloud_failed(modes.heard(modes.begin(two_ways=True), CLOUD), "no-dns", 100.0)

    state, change = between_tickets(state, 100.0)

    assert change == Change("cloud", "local", "no-dns", "till")
    assert mode_after(state, 100.0 + HOLD_S - 0.1) == "local"
    assert mode_after(state, 100.0 + HOLD_S) == "cloud"


def test_each_failure_in_a_row_holds_the_till_longer_up_to_a_limit() -> None:
    state, now_s, holds = modes.heard(modes.begin(two_ways=True), CLOUD), 0.0, []
    for _ in range(8):
        state, _ = between_tickets(modes.cloud_failed(state, "no-answer", now_s), now_s)
        holds.append(state.hold_until_s - now_s)
        now_s = state.hold_until_s

    assert holds[:4] == [HOLD_S, 2 * HOLD_S, 4 * HOLD_S, 8 * HOLD_S]
    assert holds[-1] == HOLD_MAX_S


def test_a_ticket_in_the_cloud_forgets_the_failures() -> None:
    state = modes.cloud_failed(modes.heard(modes.begin(two_ways=True), CLOUD), "no-answer", 0.0)

    state = modes.cloud_worked(state)

    assert (state.failures, mode_after(state)) == (0, "cloud")


def test_a_box_that_saw_the_line_come_back_ends_the_hold() -> None:
    state = modes.cloud_failed(modes.heard(modes.begin(two_ways=True), LOCAL), "no-answer", 0.0)
    state, _ = between_tickets(state, 0.0)

    assert mode_after(modes.heard(state, CLOUD_AGAIN), 1.0) == "cloud"


def test_hearing_the_same_proposal_again_does_not_end_the_hold() -> None:
    state = modes.cloud_failed(modes.heard(modes.begin(two_ways=True), CLOUD), "no-answer", 0.0)

    assert mode_after(modes.heard(state, CLOUD), 1.0) == "local"


def test_a_silent_box_beside_a_cloud_that_answers_is_not_followed_any_more() -> None:
    state, _ = between_tickets(modes.heard(modes.begin(two_ways=True), LOCAL), 0.0)

    state, change = between_tickets(modes.box_silent(state), 1.0)

    assert change == Change("local", "cloud", "box-silent", "till")
    assert mode_after(state, 2.0) == "cloud"


@given(st.lists(st.sampled_from(["local", "cloud", "failed", "worked", "ticket"]), max_size=40))
def test_whatever_happens_the_mode_moves_only_between_tickets(happenings: list[str]) -> None:
    state = modes.begin(two_ways=True)
    for second, happening in enumerate(happenings):
        before = state.mode
        match happening:
            case "local":
                state = modes.heard(state, LOCAL)
            case "cloud":
                state = modes.heard(state, CLOUD)
            case "failed":
                state = modes.cloud_failed(state, "no-answer", float(second))
            case "worked":
                state = modes.cloud_worked(state)
            case _:
                state, change = between_tickets(state, float(second))
                assert (change is None) == (state.mode == before)
                continue
        assert state.mode == before


def test_a_cloud_that_never_answers_is_held_off_for_ever() -> None:
    state = modes.heard(modes.begin(two_ways=True), CLOUD)

    for _ in range(2_000):
        state = modes.cloud_failed(state, "refused", 0.0)

    assert state.hold_until_s == HOLD_MAX_S
