"""A shop's network turned hostile; `make hostile` sends 10,000 and holds memory and p99 to their gates."""

import pytest

from campaigns.hostile.__main__ import campaign


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_500_bad_requests_cost_no_sale_and_no_answer_that_is_not_documented() -> None:
    done = campaign(500, 2, per_s=60.0, quiet_s=1.0, seed=1, say=lambda _: None)

    assert done.broken(gates=False) == []
    assert done.sent == 500
    assert sum(one.sales[1] for one in done.rounds) > 50
    kinds = {outcome.split()[0] for outcome in done.outcomes}
    assert kinds == {"api", "damaged", "noise", "oversized", "slow", "tls"}
    assert done.memory_mib < 64  # after so few it is mostly what is needed the first time
