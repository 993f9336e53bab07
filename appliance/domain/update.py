"""Updates: what head office offers a box, whether the box may take it, and when it may disturb the shop for it. Pure.

An *offer* is signed by the cloud, like the policy: it names one bundle by its hash, for one kind of hardware. That the
bundle itself is ours is proven a second time, by RAUC as root (X.509); a stolen cloud key alone installs nothing.

    none ──offer──▶ fetching ──whole──▶ fetched ──quiet──▶ installing ──▶ installed ──quiet──▶ restarting ──▶ none
"""

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from appliance.domain.errors import StoreboxError

# The bundle of a whole image; a card must hold it beside the shop's data.
BUNDLE_BYTES_MAX = 2 * 1024**3
NOTES_MAX = 2_000
DETAIL_MAX = 500

Version = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})$(?!\n)",
        description="three numbers, compared as numbers",
    ),
]
Compatible = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Number = Annotated[int, Meta(ge=1)]


class Reason(StrEnum):
    """Why an update did not come about. Stable: head office counts by it."""

    # The offer is not taken.
    BAD_SIGNATURE = "bad-signature"
    SUPERSEDED = "superseded"
    OTHER_HARDWARE = "other-hardware"
    OLDER_THAN_ALLOWED = "older-than-allowed"
    ALREADY_THERE = "already-there"
    TOO_LARGE = "too-large"
    # The bundle is not installed.
    OTHER_BUNDLE = "other-bundle"
    NOT_INSTALLED = "not-installed"
    # It was installed and tried, and the box went back.
    NEVER_CAME_UP = "never-came-up"
    JOURNAL_UNPROVEN = "journal-unproven"
    PORT_SILENT = "port-silent"
    MDNS_SILENT = "mdns-silent"
    SALE_FAILED = "sale-failed"
    TOO_SLOW = "too-slow"
    NOT_COMMITTED = "not-committed"


class Notes(msgspec.Struct, frozen=True):
    """What changed, for people."""

    fr: Annotated[str, Meta(max_length=NOTES_MAX)] = ""
    en: Annotated[str, Meta(max_length=NOTES_MAX)] = ""


class Offer(msgspec.Struct, frozen=True):
    """Signed by the cloud: this bundle is for boxes of this hardware. `number` only grows.

    What a later head office says beside is passed over: a box that cannot read offers could never be mended.

    `floor`: nothing older than this may be installed any more, from now on.
    """

    number: Number
    version: Version
    compatible: Compatible
    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=BUNDLE_BYTES_MAX)]
    floor: Version
    notes: Notes = Notes()


class Here(NamedTuple):
    """What a box is and knows when an offer comes: `floor` of all offers so far, `ended` the last one that ended."""

    version: str
    compatible: str
    floor: str
    ended: int
    bytes_max: int


class Request(msgspec.Struct, frozen=True):
    """What the daemon asks of the small root unit, by a file that a path unit watches."""

    do: Literal["install", "restart"]
    number: Number
    version: Version
    sha256: Sha256


Phase = Literal["installing", "installed", "restarting"]
End = Literal["updated", "refused", "rolled-back"]


class Attempt(msgspec.Struct, frozen=True):
    """How far the root units are with a request: on disk before each step, so that a power cut leaves no riddle.

    `was` is the version before, `slot` the one that was written (empty before) and is then tried, `boot` the machine's
    run that did it, `tries` how often it was begun.
    """

    number: Number
    version: Version
    sha256: Sha256
    was: str
    slot: str
    boot: str
    phase: Phase
    tries: int = 1


class Outcome(msgspec.Struct, frozen=True):
    """What became of an offer, as the root units tell it; `was` is the version before.

    `reason` is one of Reason, or of a later release's: the one that went back may know more than the one that reads.
    """

    number: Number
    version: Version
    state: End
    was: str
    reason: str = ""
    detail: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a new release has proven itself; else why not."""

    reason: Reason | None = None
    detail: str = ""


class BundleInfo(NamedTuple):
    """What a bundle's signed manifest says."""

    compatible: str
    version: str


class SlotsView(NamedTuple):
    """This kind of box; the slot that runs, and the other one."""

    compatible: str
    booted: str
    other: str


class SlotsBusy(StoreboxError):
    """A slot is being written for a root unit that is no more: nothing is said of what was asked now."""

    code, title = "slots-busy", "A slot is still being written"


State = Literal["none", "fetching", "fetched", "installing", "installed", "restarting"]


class UpdateView(msgspec.Struct, frozen=True):
    """Updates of a box in a few words: what it runs, what it is at, and what became of the last one.

    `compatible` is empty where updates are not possible: a box that was not installed from an image.
    """

    running: str = ""
    compatible: str = ""
    state: State = "none"
    number: int = 0
    version: str = ""
    fetched_bytes: int = 0
    size: int = 0
    last: str = ""
    last_version: str = ""
    last_reason: str = ""


def release(version: str) -> tuple[int, ...]:
    """A version as it is compared."""
    return tuple(map(int, version.split(".")))


def higher(one: str, other: str) -> str:
    """The later one of two versions."""
    return max(one, other, key=release)


def judge(offer: Offer, here: Here) -> Reason | None:
    """Why this box does not take an offer whose signature holds; None: it does."""
    rules = (
        (offer.number <= here.ended, Reason.SUPERSEDED),
        (offer.compatible != here.compatible, Reason.OTHER_HARDWARE),
        (release(offer.version) < release(higher(offer.floor, here.floor)), Reason.OLDER_THAN_ALLOWED),
        (release(offer.version) == release(here.version), Reason.ALREADY_THERE),
        (offer.size > here.bytes_max, Reason.TOO_LARGE),
    )
    return next((reason for hit, reason in rules if hit), None)


class Window(NamedTuple):
    """Hours in which a box may be restarted, in minutes of its local day; they may pass midnight."""

    begin_min: int
    end_min: int

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day lies inside."""
        if self.begin_min <= self.end_min:
            return self.begin_min <= minute < self.end_min
        return minute >= self.begin_min or minute < self.end_min


def read_window(text: str) -> Window | None:
    """`02:00-05:30`; None for an empty text: no hours are set. Raises ValueError."""
    if not text:
        return None
    begin, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r}: hours look like 02:00-05:30")
    window = Window(_minute(begin), _minute(end))
    if window.begin_min == window.end_min:
        raise ValueError(f"{text!r}: no time lies between")
    return window


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (
        colon and len(hour) == len(minute) == 2 and (hour + minute).isascii() and (hour + minute).isdigit()
    ):
        raise ValueError(f"{text!r}: a time looks like 02:00")
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError(f"{text!r}: no such time")
    return int(hour) * 60 + int(minute)


# Inside the hours somebody may still be at a till: wait for a pause that no ticket has.
QUIET_IN_WINDOW_S = 60.0


def may_disturb(quiet_s: float, idle_s: float, window: Window | None, minute: int | None) -> bool:
    """Whether the shop may be disturbed now, which nothing was asked of for `quiet_s`.

    Inside the configured hours a short pause is enough, outside of them never; without hours a long one is. `minute` of
    the local day is None when the wall clock is not to be trusted: then a long pause counts, since hours say nothing.
    """
    if window is None or minute is None:
        return quiet_s >= idle_s
    return window.holds(minute) and quiet_s >= QUIET_IN_WINDOW_S
