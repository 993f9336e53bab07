"""The shop is active while its tills do something, and idle some time later."""

from appliance.services.rhythm import Rhythm
from tests.fakes.clock import FakeClock


class Tills:
    """Count what they do."""

    done = 0


async def test_a_box_that_has_just_started_is_active_and_then_idle() -> None:
    clock, tills = FakeClock(), Tills()
    rhythm = Rhythm(lambda: tills.done, clock, 600.0)

    assert rhythm.choose(10.0, 120.0) == 10.0
    await clock.advance(599.0)
    assert rhythm.choose(10.0, 120.0) == 10.0
    await clock.advance(1.0)
    assert rhythm.choose(10.0, 120.0) == 120.0


async def test_each_thing_that_a_till_does_keeps_the_shop_active() -> None:
    clock, tills = FakeClock(), Tills()
    rhythm = Rhythm(lambda: tills.done, clock, 600.0)

    for _ in range(5):
        await clock.advance(500.0)
        tills.done += 1
        assert rhythm.active


async def test_a_first_sale_in_the_morning_makes_it_active_when_it_is_next_asked() -> None:
    clock, tills = FakeClock(), Tills()
    rhythm = Rhythm(lambda: tills.done, clock, 600.0)
    await clock.advance(8 * 3_600.0)
    assert not rhythm.active

    tills.done += 1
    await clock.advance(110.0)

    assert rhythm.active
