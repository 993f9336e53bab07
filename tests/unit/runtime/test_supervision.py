"""Services are kept alive, and a service that cannot live ends the process loudly."""

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable

import pytest

from appliance.runtime.supervision import (
    QUICK_CRASHES_MAX,
    STEADY_S,
    CrashLoop,
    MustRestart,
    Service,
    keep_alive,
    supervised,
)
from tests.fakes.clock import FakeClock

RNG = random.Random


class Bug(Exception):
    """Something nobody thought of."""


class Patient:
    """A service that crashes when told to, and notes when it was started."""

    def __init__(self, clock: FakeClock, *, lives_s: Callable[[int], float] = lambda _: 0.0) -> None:
        self.clock = clock
        self.lives_s = lives_s
        self.started_s: list[float] = []
        self.ended = 0

    async def run(self) -> None:
        self.started_s.append(self.clock.monotonic())
        try:
            if lives_s := self.lives_s(len(self.started_s)):
                await self.clock.sleep(lives_s)
            raise Bug
        finally:
            self.ended += 1


def kept_alive(run: Callable[[], Awaitable[None]], clock: FakeClock, seed: int = 1) -> asyncio.Task[None]:
    task = asyncio.create_task(keep_alive(Service("patient", run), clock, RNG(seed)))
    task.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # seen, whether a test looks or not
    return task


async def test_a_crash_costs_a_restart_after_a_back_off_that_doubles() -> None:
    clock = FakeClock()
    patient = Patient(clock)
    task = kept_alive(patient.run, clock)
    await clock.run_until(task)

    starts = patient.started_s
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(gaps) == QUICK_CRASHES_MAX - 1
    assert all(2**n <= gap <= 2 ** (n + 1) for n, gap in enumerate(gaps))


async def test_the_fifth_quick_crash_is_the_last_and_waits_for_nothing() -> None:
    clock = FakeClock()
    patient = Patient(clock)
    task = kept_alive(patient.run, clock)
    await clock.run_until(task)

    with pytest.raises(CrashLoop, match="patient"):
        await task
    assert clock.monotonic() == patient.started_s[-1]


async def test_a_steady_service_starts_counting_anew() -> None:
    clock = FakeClock()
    patient = Patient(clock, lives_s=lambda start: STEADY_S + 1 if start % 4 == 0 else 0.0)
    task = kept_alive(patient.run, clock)
    await clock.advance(STEADY_S * 20)

    assert not task.done()
    assert len(patient.started_s) > 40
    task.cancel()


async def test_a_service_that_is_just_not_steady_enough_is_in_a_crash_loop() -> None:
    clock = FakeClock()
    task = kept_alive(Patient(clock, lives_s=lambda _: STEADY_S - 1).run, clock)
    await clock.run_until(task)

    assert isinstance(task.exception(), CrashLoop)


async def test_each_crash_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    await clock.run_until(kept_alive(Patient(clock).run, clock))

    assert [record.message for record in caplog.records] == ["service.crashed"] * QUICK_CRASHES_MAX
    assert {vars(record)["service"] for record in caplog.records} == {"patient"}
    assert all(record.exc_info and record.exc_info[0] is Bug for record in caplog.records)


async def test_a_service_that_returns_is_started_again_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()

    async def leave() -> None:
        pass

    task = kept_alive(leave, clock)
    await clock.run_until(task)

    assert isinstance(task.exception(), CrashLoop)
    assert [record.message for record in caplog.records] == ["service.returned"] * QUICK_CRASHES_MAX


async def test_a_service_is_not_stopped_by_the_cancellation_of_what_it_waits_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    answers: list[asyncio.Future[None]] = []

    async def wait_for_an_answer() -> None:
        answers.append(asyncio.get_running_loop().create_future())
        await answers[-1]

    task = kept_alive(wait_for_an_answer, clock)
    await clock.settle()
    answers[0].cancel()
    await clock.advance(10)

    assert len(answers) == 2
    assert not task.done()
    assert [record.message for record in caplog.records] == ["service.crashed"]
    task.cancel()


async def test_a_fleet_does_not_restart_in_step() -> None:
    starts = set()
    for seed in range(10):
        clock = FakeClock()
        patient = Patient(clock)
        await clock.run_until(kept_alive(patient.run, clock, seed))
        starts.add(patient.started_s[1])

    assert len(starts) == 10


# --- a group of services


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_services_run_while_inside_and_are_all_stopped_at_the_end() -> None:
    clock = FakeClock()
    patients = [Patient(clock, lives_s=lambda _: 1e6) for _ in range(3)]
    async with supervised([Service(f"s{n}", p.run) for n, p in enumerate(patients)], clock, RNG(1)):
        await clock.settle()
        assert [len(p.started_s) for p in patients] == [1, 1, 1]
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert {"s0", "s1", "s2"} <= names

    assert [p.ended for p in patients] == [1, 1, 1]
    assert clock.sleeping == 0


async def test_a_crash_of_one_does_not_touch_the_others() -> None:
    clock = FakeClock()
    steady, crashing = (
        Patient(clock, lives_s=lambda _: 1e6),
        Patient(clock, lives_s=lambda n: 0 if n == 1 else 1e6),
    )
    async with supervised([Service("a", steady.run), Service("b", crashing.run)], clock, RNG(1)):
        await clock.advance(60)

        assert (len(steady.started_s), len(crashing.started_s)) == (1, 2)


async def test_a_crash_loop_cancels_the_block_and_is_raised_as_itself() -> None:
    clock = FakeClock()
    other = Patient(clock, lives_s=lambda _: 1e6)
    interrupted = False

    async def block() -> None:
        nonlocal interrupted
        async with supervised(
            [Service("bad", Patient(clock).run), Service("good", other.run)], clock, RNG(1)
        ):
            try:
                await for_ever()
            except asyncio.CancelledError:
                interrupted = True
                raise

    running = asyncio.create_task(block())
    await clock.run_until(running)

    with pytest.raises(CrashLoop, match="bad"):
        await running
    assert interrupted
    assert other.ended == 1


async def test_an_error_of_the_block_is_raised_as_it_is_and_stops_the_services() -> None:
    clock = FakeClock()
    patient = Patient(clock, lives_s=lambda _: 1e6)

    async def block() -> None:
        async with supervised([Service("s", patient.run)], clock, RNG(1)):
            await clock.settle()
            raise Bug

    with pytest.raises(Bug):
        await block()

    assert patient.ended == 1


async def test_who_cancels_the_block_gets_a_cancelled_block_with_all_stopped() -> None:
    clock = FakeClock()
    patient = Patient(clock, lives_s=lambda _: 1e6)

    async def block() -> None:
        async with supervised([Service("s", patient.run)], clock, RNG(1)):
            await for_ever()

    running = asyncio.create_task(block())
    await clock.settle()
    running.cancel()
    await clock.settle()

    assert running.cancelled()
    assert patient.ended == 1


@pytest.mark.parametrize("manner", ["fails", "returns"])
async def test_a_service_that_stops_badly_is_not_started_again(
    manner: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    starts = 0

    async def stop_badly() -> None:
        nonlocal starts
        starts += 1
        try:
            await for_ever()
        except asyncio.CancelledError:
            if manner == "fails":
                raise Bug from None

    with caplog.at_level(logging.ERROR):
        async with supervised([Service("s", stop_badly)], clock, RNG(1)):
            await clock.settle()

    assert starts == 1
    assert [record.message for record in caplog.records] == (["service.crashed"] if manner == "fails" else [])


async def test_a_service_in_its_back_off_is_stopped_too() -> None:
    clock = FakeClock()
    patient = Patient(clock)
    async with supervised([Service("s", patient.run)], clock, RNG(1)):
        await clock.settle()
        assert clock.sleeping == 1

    assert len(patient.started_s) == 1
    assert clock.sleeping == 0


async def test_no_services_is_no_reason_to_wait() -> None:
    async with supervised([], FakeClock(), RNG(1)):
        pass


async def test_a_service_that_needs_a_new_process_ends_this_one_at_once() -> None:
    clock = FakeClock()

    async def give_up() -> None:
        raise MustRestart("only a new process can go on")

    with pytest.raises(MustRestart):
        async with supervised([Service("damage", give_up)], clock, RNG(1)):
            await asyncio.Event().wait()
