"""What holds of the line's state whatever happens."""

from hypothesis import given

from appliance.domain.link import (
    BREAKS_MAX,
    FAILURES_TO_OFFLINE,
    PROOF_GAP_MAX_S,
    PROOF_GAP_S,
    WINDOW,
    Cause,
    Link,
    LinkState,
)
from tests.unit.link_samples import LOST, OK, history, last_time, run, steps


@given(steps)
def test_the_mode_changes_only_on_the_outer_edges(told: list[tuple[float, Cause, float, bool]]) -> None:
    before = Link()
    for _, link in history(told):
        if link.mode != before.mode:
            proven = before.half_open and link.state is LinkState.ONLINE
            fell = before.state is not LinkState.OFFLINE and link.state is LinkState.OFFLINE
            assert proven if link.mode == "cloud" else fell
        assert (link.mode == "cloud") == (link.state is not LinkState.OFFLINE and not link.half_open)
        before = link


@given(steps)
def test_never_offline_with_fewer_than_three_failures_in_a_row(
    told: list[tuple[float, Cause, float, bool]],
) -> None:
    before, in_a_row = Link(), 0
    for sample, link in history(told):
        in_a_row = 0 if sample.ok else in_a_row + 1
        if link.state is LinkState.OFFLINE and before.state is not LinkState.OFFLINE and not before.half_open:
            assert in_a_row >= FAILURES_TO_OFFLINE
        before = link


@given(steps)
def test_never_back_to_cloud_without_five_good_seconds(told: list[tuple[float, Cause, float, bool]]) -> None:
    before = Link()
    good_since_s: float | None = None
    for sample, link in history(told):
        if sample.ok and good_since_s is None:
            good_since_s = sample.at_s
        if before.mode == "local" and link.mode == "cloud":
            assert good_since_s is not None
            assert sample.at_s - good_since_s >= PROOF_GAP_S
        if not sample.ok and link is not before:
            good_since_s = None
        before = link


@given(steps)
def test_memory_is_bounded_and_the_state_is_never_entered_in_the_future(
    told: list[tuple[float, Cause, float, bool]],
) -> None:
    for sample, link in history(told):
        assert len(link.window) <= WINDOW
        assert len(link.breaks) <= BREAKS_MAX
        assert link.since_s <= sample.at_s


@given(steps)
def test_three_spaced_failures_always_end_in_local_mode(
    told: list[tuple[float, Cause, float, bool]],
) -> None:
    link = history(told)[-1][1] if told else Link()
    start_s = last_time(link) + 1.0

    link = run([(start_s, LOST), (start_s + 0.5, LOST), (start_s + 1.5, LOST)], link)

    assert (link.state, link.mode) == (LinkState.OFFLINE, "local")


@given(steps)
def test_a_line_that_stays_well_always_ends_online(told: list[tuple[float, Cause, float, bool]]) -> None:
    link = history(told)[-1][1] if told else Link()
    start_s = last_time(link) + 1.0

    link = run([(start_s + 5.0 * n, OK) for n in range(int(PROOF_GAP_MAX_S / 5.0) + 2)], link)

    assert (link.state, link.cause, link.mode) == (LinkState.ONLINE, OK, "cloud")
