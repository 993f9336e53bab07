"""Watching another machine from outside."""

import time
from collections.abc import Callable

from bench.processes import Failed


def until(
    reached: Callable[[], object], limit_s: float, missed: Callable[[], str], look_s: float = 0.5
) -> None:
    """Look every `look_s` until `reached()` is true. Raises Failed, saying `missed()`, when it is not in `limit_s`."""
    end_s = time.monotonic() + limit_s
    while not reached():
        if time.monotonic() > end_s:
            raise Failed(missed())
        time.sleep(look_s)  # the machine inside tells nobody here when it is there
