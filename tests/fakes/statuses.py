"""What a box says of itself when all is well."""

from typing import Any

import msgspec

from appliance.domain.wire import JournalView, ModeView, Status
from appliance.runtime.clock import rfc3339
from tests.fakes.clock import OPENING


def a_status(backlog: int = 0, **overrides: Any) -> Status:
    """Online, nothing wrong; so many events wait."""
    status = Status(
        box="sb-aaaaaaaaaaaaaaaa",
        shop="S042",
        software="0.1.0",
        state="online",
        uptime_s=60.0,
        mode=ModeView("cloud", "online", "ok", rfc3339(OPENING)),
        journal=JournalView(1, 10, "ab" * 32, 10 - backlog, backlog, 0.0),
        catalogue_version=1,
        catalogue_age_s=5.0,
        articles=500,
        policy_version=1,
        tills_seen=2,
        issues=[],
        sales_accepted=8,
        sales_replayed=0,
        sales_conflicting=0,
        sales_flagged=0,
        operations_refused=0,
        operations_passed=0,
    )
    return msgspec.structs.replace(status, **overrides)
