"""A till's ticket numbers: which have been seen, and what the next one tells.

The natural key of a ticket is (till, business date, number); two sales of one key are both facts, and flagged. The
rule for gaps, with `last` the till's newest ticket here:

- *next*: the number after `last`, whatever its date.
- *ahead*: a higher number, of the same business date or a later one. *Anew*: a lower number of a later business date,
  of a till that counts from 1 each day. Both are a gap unless the number is 1, the number before it has been seen
  under this business date, or the till may have sold straight to head office since `last`.
  Whether it may have is told by stretches of time: they change whenever the box proposes its tills another mode. Two
  tickets of one stretch are judged, unless head office could be reached and one says that its till was selling there
  (mode `cloud`); a till that goes on selling here all the same, in mode `local`, knows no other way.
- *late*: all else, a ticket kept and sent later. It fills its place, is neither gap nor reuse, and moves nothing.

A till's first ticket here is not judged: the till may be older than the box. A gap that is filled later stays flagged
on the ticket that showed it: it was one when that ticket came.
"""

from bisect import bisect_right
from datetime import date, datetime
from typing import NamedTuple

from appliance.domain.sale import Sale

REUSED = "ticket-number-reused"
GAP = "ticket-gap"
CLOCK_BACK = "clock-back"

# A till's clock may be set by so much between two tickets: NTP steps of seconds are its daily bread.
CLOCK_BACK_S = 60.0


class Ticket(NamedTuple):
    """What of a sale decides here. `day` is the business date's ordinal, `ended_s` Unix seconds by the till's clock.

    `local`: the till was in mode local.
    """

    till: str
    day: int
    number: int
    ended_s: float
    local: bool


class Last(NamedTuple):
    """A till's newest ticket here. `stretch`: in which one it came; None: its till was selling to head office then."""

    day: int
    number: int
    ended_s: float
    stretch: int | None


class Numbers:
    """A set of ticket numbers, small as long as they are gapless.

    `bounds` are where membership changes, in order: [1, 5, 9, 10] holds 1 to 4, and 9.
    """

    __slots__ = ("bounds",)

    def __init__(self, bounds: list[int]) -> None:
        self.bounds = bounds

    def __contains__(self, number: int) -> bool:
        return bisect_right(self.bounds, number) & 1 == 1

    def add(self, number: int) -> None:
        """Take a number in; one that is there changes nothing."""
        bounds = self.bounds
        at = bisect_right(bounds, number)
        if at & 1:
            return
        after_one = at > 0 and bounds[at - 1] == number
        before_one = at < len(bounds) and bounds[at] == number + 1
        if after_one and before_one:
            del bounds[at - 1 : at + 1]
        elif after_one:
            bounds[at - 1] = number + 1
        elif before_one:
            bounds[at] = number
        else:
            bounds[at:at] = [number, number + 1]


def ticket_of(till_id: str, business_date: str, number: int, ended_at: str, mode: str) -> Ticket:
    """The ticket of a sale that was read (its dates are days that exist)."""
    day = date.fromisoformat(business_date).toordinal()
    return Ticket(till_id, day, number, unix_s(ended_at), mode == "local")


def ticket_of_sale(sale: Sale) -> Ticket:
    """The same, of a whole sale."""
    return ticket_of(sale.till_id, sale.business_date, sale.ticket_number, sale.ended_at, sale.mode)


def unix_s(instant: str) -> float:
    """An RFC 3339 instant of a sale as Unix seconds; a leap second counts as the one before it."""
    if instant[17:19] == "60":
        instant = f"{instant[:17]}59{instant[19:]}"
    return datetime.fromisoformat(instant).timestamp()


def judge(
    ticket: Ticket, last: Last | None, seen: Numbers, *, stretch: int, open: bool
) -> tuple[tuple[str, ...], Last | None]:
    """The flags of a ticket, and the till's last one after it. `seen` holds the till's numbers of its business date.

    `stretch` is the present one; `open`: the box proposes mode cloud in it.
    """
    number = ticket.number
    if number in seen:
        return (REUSED,), last
    here = Last(ticket.day, number, ticket.ended_s, None if open and not ticket.local else stretch)
    if last is None:
        return (), here
    is_next = number == last.number + 1
    if not is_next and (ticket.day < last.day or (number < last.number and ticket.day == last.day)):
        return (), last
    found: tuple[str, ...] = ()
    if ticket.ended_s < last.ended_s - CLOCK_BACK_S:
        found = (CLOCK_BACK,)
    skips = not is_next and number > 1 and number - 1 not in seen
    if skips and here.stretch is not None and here.stretch == last.stretch:
        found = (*found, GAP)
    return found, here
