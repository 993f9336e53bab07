"""Watching a machine from outside."""

import time
from collections.abc import Callable

from bench.processes import Failed


def until(
    reached: Callable[[], object], limit_s: float, missed: Callable[[], str], look_s: float = 0.5
) -> float:
    """Look every `look_s` until `reached()` is true; after how many seconds it was.

    Raises Failed, saying `missed()`, when it is not in `limit_s`.
    """
    began_s = time.monotonic()
    while not reached():
        if time.monotonic() - began_s > limit_s:
            raise Failed(f"not in {limit_s:.0f} s: {missed()}")
        time.sleep(look_s)  # the machine inside tells nobody here when it is there
    return time.monotonic() - began_s
