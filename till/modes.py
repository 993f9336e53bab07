"""The two ways of selling, and when to change between them: the box proposes, the till decides. Pure.

    cloud ──the box proposes local, or a ticket got no answer from the cloud──▶ local
      ▲                                                                          │
      └──the box proposes cloud again, or its standing proposal outlives a hold──┘

Changes wait for `between_tickets`; each names its cause and who wanted it. A till that left the cloud by itself
holds the box's standing proposal `cloud` off for a while, longer each time in a row, so that it does not flap.
"""

from typing import Literal

import msgspec

from appliance.domain.sale import Mode
from appliance.domain.wire import ModeView

# The box needs about 10 s to see a dead line (a probe every 5 s, three failures); it should have spoken by then.
HOLD_S = 15.0
HOLD_MAX_S = 300.0
# Far beyond the longest hold; a float has room for no more than 1,023 doublings.
DOUBLINGS_MAX = 16

# The cause of a change back to the cloud because the box no longer answers and the cloud does.
BOX_SILENT = "box-silent"


class Change(msgspec.Struct, frozen=True):
    """A change of mode: why, and who wanted it."""

    old: Mode
    new: Mode
    cause: str
    by: Literal["box", "till"]


class Modes(msgspec.Struct, frozen=True):
    """The mode in force, what the box proposed last, and what the till saw itself.

    `hold_until_s` (monotonic): until then the standing proposal `cloud` does not count; `failures` in a row made it.
    """

    mode: Mode
    two_ways: bool = True
    proposal: ModeView | None = None
    failures: int = 0
    hold_until_s: float = 0.0
    cause: str = "starting"


def begin(*, two_ways: bool) -> Modes:
    """At start: the cloud, if there is one; nobody has proposed anything yet."""
    return Modes("cloud" if two_ways else "local", two_ways)


def heard(modes: Modes, view: ModeView) -> Modes:
    """The box proposes. A proposal that changes from local to cloud ends any hold: the box has seen the line itself."""
    if modes.proposal is not None and modes.proposal.mode == "local" and view.mode == "cloud":
        modes = msgspec.structs.replace(modes, hold_until_s=0.0)
    return msgspec.structs.replace(modes, proposal=view)


def cloud_failed(modes: Modes, cause: str, now_s: float) -> Modes:
    """A ticket got no good answer from the cloud; `cause` is what box or till know of it."""
    hold_s = min(HOLD_MAX_S, HOLD_S * 2.0 ** min(modes.failures, DOUBLINGS_MAX))
    return msgspec.structs.replace(
        modes, failures=modes.failures + 1, hold_until_s=now_s + hold_s, cause=cause
    )


def cloud_worked(modes: Modes) -> Modes:
    """A ticket is in the cloud: what failed before is forgotten."""
    return msgspec.structs.replace(modes, failures=0, hold_until_s=0.0)


def box_silent(modes: Modes) -> Modes:
    """The cloud took a ticket that the box did not answer: what the box proposed before no longer counts."""
    return msgspec.structs.replace(modes, proposal=None, failures=0, hold_until_s=0.0, cause=BOX_SILENT)


def between_tickets(modes: Modes, now_s: float) -> tuple[Modes, Change | None]:
    """The modes for the next ticket, and the change if there is one. Only to be asked while no ticket is in hand."""
    wanted = _wanted(modes, now_s)
    if wanted is None or wanted.new == modes.mode:
        return modes, None
    return msgspec.structs.replace(modes, mode=wanted.new), wanted


def _wanted(modes: Modes, now_s: float) -> Change | None:
    if not modes.two_ways:
        return None
    view = modes.proposal
    if view is not None and view.mode == "local":
        return Change(modes.mode, "local", view.cause, "box")
    if now_s < modes.hold_until_s:
        return Change(modes.mode, "local", modes.cause, "till")
    if view is None:
        return Change(modes.mode, "cloud", modes.cause, "till")
    return Change(modes.mode, "cloud", view.cause, "box")
