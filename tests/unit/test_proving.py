"""The proof of a new release: patient with a box that starts, and never for ever."""

import asyncio

import pytest

from appliance.domain.errors import NotReady
from appliance.domain.update import Reason, Verdict
from appliance.services.proving import Check, Hopeless, proof_s, prove
from tests.fakes.clock import FakeClock


class Look:
    """Fails so many times, then holds; `never` hangs."""

    def __init__(self, failures: int = 0, *, hangs: bool = False) -> None:
        self.failures, self.hangs, self.looks = failures, hangs, 0

    async def __call__(self) -> None:
        self.looks += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.looks <= self.failures:
            raise NotReady("not yet")


async def verdict_of(*checks: Check) -> tuple[Verdict, float]:
    clock = FakeClock()
    began_s, task = clock.monotonic(), asyncio.create_task(prove(checks, clock))
    await clock.run_until(task)
    return task.result(), clock.monotonic() - began_s


async def test_what_holds_in_the_end_is_proven() -> None:
    port, sale = Look(5), Look()

    verdict, took_s = await verdict_of(
        Check(Reason.PORT_SILENT, port, lambda: 120.0), Check(Reason.SALE_FAILED, sale, lambda: 120.0)
    )

    assert (verdict, took_s, sale.looks) == (Verdict(), 5.0, 1)


async def test_the_first_that_does_not_hold_in_its_time_decides() -> None:
    sale = Look()

    verdict, took_s = await verdict_of(
        Check(Reason.PORT_SILENT, Look(10_000), lambda: 120.0),
        Check(Reason.SALE_FAILED, sale, lambda: 120.0),
    )

    assert (verdict, took_s, sale.looks) == (Verdict(Reason.PORT_SILENT, "not yet"), 120.0, 0)


async def test_what_no_time_mends_is_not_waited_for() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Hopeless("it has ended 3 times")
        raise NotReady("not yet")

    verdict, took_s = await verdict_of(Check(Reason.PORT_SILENT, look, lambda: 120.0))

    assert (verdict, took_s) == (Verdict(Reason.PORT_SILENT, "it has ended 3 times"), 2.0)


async def test_one_that_says_nothing_at_all_is_too_slow() -> None:
    verdict, took_s = await verdict_of(Check(Reason.MDNS_SILENT, Look(hangs=True), lambda: 60.0))

    assert (verdict.reason, took_s) == (Reason.TOO_SLOW, 60.0)
    assert "mdns-silent" in verdict.detail


async def test_what_no_time_can_mend_is_looked_at_once() -> None:
    journal = Look(1)

    verdict, took_s = await verdict_of(Check(Reason.JOURNAL_UNPROVEN, journal, lambda: 600.0, once=True))

    assert (verdict.reason, took_s, journal.looks) == (Reason.JOURNAL_UNPROVEN, 0.0, 1)


async def test_a_bug_in_a_check_is_no_verdict() -> None:
    async def look() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await verdict_of(Check(Reason.PORT_SILENT, look, lambda: 60.0))


@pytest.mark.parametrize(
    ("now_s", "started_s", "has_s"),
    [(50.0, 50.0, 60.0), (70.0, 50.0, 40.0), (90.0, 50.0, 30.0), (9_000.0, 50.0, 30.0), (50.0, None, 60.0)],
)
def test_a_proof_is_over_so_long_after_the_daemon_s_start_but_has_half_of_that(
    now_s: float, started_s: float | None, has_s: float
) -> None:
    assert proof_s(60.0, now_s, started_s) == has_s
