"""One thread, its jobs in order, and what becomes of those who wait for them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from appliance.runtime.one_thread import Answer, OneThread
from tests.fakes.tasks import until


@pytest.fixture
async def thread() -> AsyncIterator[OneThread]:
    one = OneThread("one")
    yield one
    one.shutdown(wait=False)


def failing(error: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


async def test_a_loop_hands_work_to_it_and_waits_for_the_result(thread: OneThread) -> None:
    loop = asyncio.get_running_loop()

    assert await loop.run_in_executor(thread, threading.current_thread) is not threading.current_thread()
    assert await loop.run_in_executor(thread, divmod, 17, 5) == (3, 2)


async def test_all_its_work_is_done_by_one_thread_in_order(thread: OneThread) -> None:
    done: list[tuple[int, int]] = []

    def job(number: int) -> None:
        done.append((number, threading.get_ident()))

    await asyncio.gather(*(thread.submit(job, number) for number in range(100)))

    assert [number for number, _ in done] == list(range(100))
    assert len({ident for _, ident in done}) == 1


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_work_raises_reaches_who_waits_and_the_thread_goes_on(
    thread: OneThread, error: BaseException
) -> None:
    answer = thread.submit(failing(error))
    await asyncio.wait([answer])

    assert answer.exception() is error
    assert await thread.submit(lambda: 7) == 7


async def test_work_that_nobody_waits_for_any_more_is_not_begun(thread: OneThread) -> None:
    free, begun = threading.Event(), list[int]()
    first = thread.submit(free.wait)
    second = thread.submit(begun.append, 2)
    second.cancel()
    free.set()

    assert await first
    await thread.submit(lambda: None)  # stands behind it
    assert begun == []


async def test_who_is_cancelled_while_the_work_is_done_is_not_told_and_it_is_done(thread: OneThread) -> None:
    begun, free, done = threading.Event(), threading.Event(), list[int]()

    def job() -> None:
        begun.set()
        free.wait()
        done.append(1)

    answer = thread.submit(job)
    await until(begun.is_set)
    answer.cancel()
    free.set()
    await thread.submit(lambda: None)

    assert answer.cancelled()
    assert done == [1]


async def test_it_ends_once_all_that_was_handed_in_is_done() -> None:
    one, done = OneThread("ends"), list[int]()
    for number in range(10):
        one.submit(done.append, number)
    await asyncio.to_thread(one.shutdown)

    assert done == list(range(10))
    assert not any(thread.name == "ends" for thread in threading.enumerate())


def test_one_that_never_had_work_has_no_thread_to_end() -> None:
    OneThread("never").shutdown()

    assert not any(thread.name == "never" for thread in threading.enumerate())


def test_a_loop_that_was_closed_meanwhile_ends_no_thread() -> None:
    free, one = threading.Event(), OneThread("late")

    async def leave_without_waiting() -> Answer:
        return one.submit(free.wait)

    loop = asyncio.new_event_loop()
    answer = loop.run_until_complete(leave_without_waiting())
    loop.close()
    free.set()
    one.shutdown()  # an error in the thread would be a warning, and so a failure

    assert not answer.done()
