"""How many events the next batch may hold: more while they go through at once, half when one does not. Pure.

A batch costs one answer time of the line, so after an outage large ones empty the backlog soonest; but what travels
when the line breaks has to travel again, so on a slow line they stay small. Doubling up to where it last went wrong,
then steps, and half on trouble finds what the line and what stands before the cloud can bear, and stays near it (slow
start and additive increase, multiplicative decrease: RFC 5681).
"""

# The batch that proves a line which just came back: small, so that a bad line costs little. A failure of one that is
# not larger says nothing about size.
PROOF_EVENTS = 20
# The first one over a line of which nothing is known.
FIRST_EVENTS = 500
# Answered within this, more may travel at once; beyond the second, what breaks costs too much.
QUICK_S, SLOW_S = 1.0, 5.0
# A step beyond where it last went wrong: this part of the size, and at least so many events.
STEP_SHARE, STEP_EVENTS_MIN = 16, 5


class Pace:
    """The size of the next batch, from how those before it went."""

    def __init__(self, events_max: int) -> None:
        self._max = events_max
        self._events = min(events_max, FIRST_EVENTS)
        # Where it last went wrong: up to here sizes double.
        self._known_good = events_max
        self._failing = False

    @property
    def events(self) -> int:
        """What the next batch may hold."""
        return self._events

    @property
    def hoped(self) -> int:
        """What the one behind the batch that is on its way may hold, if that one is answered at once."""
        step = max(STEP_EVENTS_MIN, self._events // STEP_SHARE)
        return min(self._max, max(min(2 * self._events, self._known_good), self._events + step))

    def went_through(self, sent: int, took_s: float) -> None:
        """A batch of so many events was answered after so long."""
        self._failing = False
        if took_s > SLOW_S and sent > PROOF_EVENTS:
            self._halve(sent, PROOF_EVENTS)
        elif took_s <= QUICK_S and 2 * sent >= self._events:
            self._events = self.hoped

    def broke(self, sent: int) -> None:
        """The line or the cloud failed under a batch of so many events. Only the first failure in a row is news."""
        known_good = self._known_good
        self._halve(sent, PROOF_EVENTS)
        if self._failing or sent <= PROOF_EVENTS:
            self._known_good = known_good
        self._failing = True

    def too_large(self, sent: int) -> bool:
        """Somebody takes no batch of so many events; False when there is no smaller one to try."""
        before = self._events
        self._halve(sent, 1)
        return self._events < before

    def _halve(self, sent: int, least: int) -> None:
        self._events = max(min(least, self._events), min(self._events, sent) // 2)
        self._known_good = self._events
