"""How much one caller may ask, by a clock that the test moves."""

import pytest

from appliance.config import Limits
from appliance.domain.errors import TooMany
from appliance.runtime.rates import BUCKETS_MAX
from appliance.services.rates import Rates
from tests.fakes.clock import FakeClock

LIMITS = Limits(
    unpaired_per_s=10,
    unpaired_burst=30,
    per_till_per_s=200,
    per_till_burst=400,
    pairing_per_s=1,
    pairing_burst=5,
)


def granted(rates: Rates, remote: str, times: int = 1_000) -> int:
    """How many of so many requests at once pass."""
    passed = 0
    for _ in range(times):
        try:
            rates.admit_stranger(remote)
        except TooMany:
            continue
        passed += 1
    return passed


async def test_a_stranger_gets_his_burst_and_then_his_rate() -> None:
    clock = FakeClock()
    rates = Rates(LIMITS, clock)

    assert granted(rates, "192.168.1.9") == 30
    await clock.advance(0.5)
    assert granted(rates, "192.168.1.9") == 5
    await clock.advance(3_600.0)
    assert granted(rates, "192.168.1.9") == 30


def test_who_is_refused_hears_when_to_come_back() -> None:
    rates = Rates(LIMITS, FakeClock())
    for _ in range(5):
        rates.admit_pairing("192.168.1.9")

    with pytest.raises(TooMany) as refused:
        rates.admit_pairing("192.168.1.9")

    assert refused.value.fields["retry_after_s"] == 1.0


def test_one_caller_takes_nothing_from_another() -> None:
    rates = Rates(LIMITS, FakeClock())
    granted(rates, "192.168.1.9")

    assert granted(rates, "192.168.1.10") == 30
    for _ in range(400):
        rates.admit_till("T1")
    with pytest.raises(TooMany):
        rates.admit_till("T1")
    rates.admit_till("T2")


def test_an_ipv6_host_counts_as_its_whole_network() -> None:
    rates = Rates(LIMITS, FakeClock())
    granted(rates, "fd00:1:2:3::1")

    assert granted(rates, "fd00:1:2:3:ffff::9") == 0
    assert granted(rates, "fd00:1:2:4::1") == 30


@pytest.mark.parametrize("remote", ["127.0.0.1", "::1"])
def test_the_box_itself_is_not_limited_as_an_address(remote: str) -> None:
    rates = Rates(LIMITS, FakeClock())

    assert granted(rates, remote) == 1_000
    assert granted(rates, "127.0.0.2") == 30


def test_a_flood_from_everywhere_does_not_fill_the_memory() -> None:
    rates = Rates(LIMITS, FakeClock())
    for number in range(BUCKETS_MAX + 500):
        granted(rates, f"10.0.{number // 256}.{number % 256}", times=1)

    assert len(rates._buckets._left) == BUCKETS_MAX
