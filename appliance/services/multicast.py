"""Whether tills see the box by multicast, as they tell it: many a shop's network passes none on."""

from typing import Literal

from appliance.domain.health import Multicast
from appliance.runtime.clock import Clock

# Tills look every ten minutes.
HEARD_S = 1_800.0
UNSEEN_IN_A_ROW = 2
ISSUE = "multicast-blocked"


class MulticastWatch:
    """What paired tills reported lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_s: float | None = None
        # By till: how often in a row it did not see the box, and when last.
        self._unseen: dict[str, tuple[int, float]] = {}

    def hear(self, till: str, multicast: Literal["seen", "unseen"]) -> None:
        """A till looked for the box, and saw it or not."""
        now_s = self._clock.monotonic()
        if multicast == "seen":
            self._seen_s = now_s
            self._unseen.clear()
            return
        times, _ = self._lately().get(till, (0, now_s))
        self._unseen[till] = (times + 1, now_s)

    def view(self) -> Multicast:
        """Blocked: some till missed the box twice in a row, and none saw it. One that sees it settles the question."""
        if self._seen_s is not None and self._clock.monotonic() - self._seen_s <= HEARD_S:
            return "ok"
        if any(times >= UNSEEN_IN_A_ROW for times, _ in self._lately().values()):
            return "blocked"
        return "unknown"

    def issues(self) -> list[str]:
        """For a technician."""
        return [ISSUE] if self.view() == "blocked" else []

    def _lately(self) -> dict[str, tuple[int, float]]:
        since_s = self._clock.monotonic() - HEARD_S
        self._unseen = {till: told for till, told in self._unseen.items() if told[1] >= since_s}
        return self._unseen
