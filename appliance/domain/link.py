"""The state of the line to the cloud, from samples, with hysteresis. Pure: the caller brings samples and times.

                 3 failures in a row
    online ───────────────────────────────▶ offline ◀─────────────┐
     ▲  ▲ │                                  ▲    │ first success  │ any failure
     │  │ ▼ slow or lossy                    │    ▼                │
     │ degraded (mode cloud) ── 3 in a row ──┘  degraded, half-open (mode local)
     │                                            │
     └──── a later success, 5 s after the first ──┘

`mode` is what tills are proposed. It changes only at the outer edges (to `local` on entering offline, to `cloud` on
the proof), so slowness and loss never move it: a slow line still carries sales, and a till that is refused a deposit
for half a minute is better off than one that is sent to and fro.

Reasons for what is not obvious:
- *What counts as three failures.* Requests that die in the same moment are one event, and a failure of a request that
  began before the last success says nothing new: it must not break the proof of a line that is back.
- *A line that keeps breaking must prove itself longer.* From the third break in five minutes on each doubles the
  proof, from 5 s up to 2 min. A clean cut is back in 5 s, a second one too; a line on which one try in three succeeds
  stays local until it is well. Going local is never delayed, so flips are rare because returns are.
- *Quality is counted, not averaged.* Of the last 20 samples 4 lost ones are 20 %, and 3 slow ones are past the 95th
  percentile; but one slow request, or one blip and its quick retries, must not refuse a deposit, so there is no ratio
  over a handful of samples. Bulk transfers are slow on any line: their time is not counted.
- *Leaving is judged on what came after entering*, over at least 10 samples and 30 s, within a narrower band. Otherwise
  old failures would hold the state for as long as they take to age out, or two thresholds would make it swing.
- *The half-open sample is never judged for slowness alone*: it pays for a new connection; two more must be slow too.
"""

from enum import StrEnum

import msgspec

from appliance.domain.sale import Mode

# 3, not 1: a shop's router drops single packets under load, and each flip blocks deposits and credit notes.
FAILURES_TO_OFFLINE = 3
# Failures nearer to one another than this are one event; below the first quick retry, so that a retry always counts.
SAME_EVENT_S = 0.4
# The proof of a second success must not come from the same lucky moment as the first.
PROOF_GAP_S, PROOF_GAP_MAX_S = 5.0, 120.0
# Breaks that cost nothing, those remembered (5 s doubled five times is beyond the longest proof), and for how long.
BREAKS_FREE, BREAKS_MAX, BREAKS_KEPT_S = 2, 7, 300.0
# What quality is judged on: the last 20 samples (all those of idle probing in two minutes), none older.
WINDOW, WINDOW_S = 20, 120.0
# The degraded band (after mwan3's): enter above, leave below, between them nothing changes.
SLOW_ENTER_S, SLOW_LEAVE_S = 1.0, 0.5
SLOW_TO_ENTER, LOST_TO_ENTER = 3, 4
LEAVE_SAMPLES, LEAVE_DWELL_S, EXCEPTIONS_TO_LEAVE = 10, 30.0, 1
# A cut on an idle line is noticed within 6 (the longest wait) + 2 + 0.5 + 2 + 1 + 2 = 13.5 s: three probes that hang
# until their time-out, and the quick retries between them that tell a lost packet from a lost line.
PROBE_EVERY_S, PROBE_SPREAD = 5.0, 0.2
PROBE_TIMEOUT_S = 2.0
RETRY_AFTER_S = (0.5, 1.0)
# During the proof's first seconds the line is asked more often: four answers, not two, are what luck must come up with.
PROOF_STEP_S = 1.7
# A little beyond the proof gap, so that rounding does not cost a whole round.
PROOF_MARGIN_S = 0.1


class LinkState(StrEnum):
    """Whether the cloud can be relied on."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"


class Cause(StrEnum):
    """Why the link is in its state: the outermost thing that is known to be wrong."""

    OK = "ok"
    STARTING = "starting"
    PROVING = "proving"
    SLOW = "slow"
    LOSSY = "lossy"
    NO_LINK = "no-link"
    NO_GATEWAY = "no-gateway"
    NO_DNS = "no-dns"
    NO_ANSWER = "no-answer"
    CAPTIVE_PORTAL = "captive-portal"
    TLS = "tls"
    CLOCK = "clock"
    CLOUD_DOWN = "cloud-down"
    REFUSED = "refused"


class Sample(msgspec.Struct, frozen=True):
    """One try to reach the cloud: a probe or any real request. `at_s` (monotonic) is its end; `cause` is OK on success.

    `bulk`: so large that its time says nothing about the line.
    """

    at_s: float
    cause: Cause
    took_s: float = 0.0
    bulk: bool = False

    @property
    def ok(self) -> bool:
        """Whether the cloud answered."""
        return self.cause is Cause.OK


class Link(msgspec.Struct, frozen=True):
    """What is known of the line. `since_s` (monotonic) is when `state` was entered; the rest is for `observe`."""

    state: LinkState = LinkState.OFFLINE
    cause: Cause = Cause.STARTING
    mode: Mode = "local"
    since_s: float = 0.0
    failures: int = 0
    failed_s: float | None = None
    succeeded_s: float | None = None
    first_success_s: float | None = None
    breaks: tuple[float, ...] = ()
    window: tuple[Sample, ...] = ()

    @property
    def online(self) -> bool:
        """Whether online-only operations may pass."""
        return self.state is LinkState.ONLINE

    @property
    def half_open(self) -> bool:
        """Whether the line came back and one small real batch should prove it."""
        return self.first_success_s is not None


def observe(link: Link, sample: Sample) -> Link:
    """The link after one more sample; the very same object when the sample says nothing new.

    Samples come in order of their times.
    """
    if sample.ok:
        return _succeeded(link, sample)
    return link if _is_old_news(link, sample) else _failed(link, sample)


def proof_gap_s(link: Link, now_s: float) -> float:
    """How long a half-open line must hold before it is online: longer for one that broke often of late."""
    breaks = sum(now_s - broke_s < BREAKS_KEPT_S for broke_s in link.breaks)
    return min(PROOF_GAP_MAX_S, PROOF_GAP_S * 2.0 ** max(0, breaks - BREAKS_FREE))


def next_probe_s(link: Link, now_s: float, spread: float) -> float:
    """Seconds from now until the next probe. `spread` in [-1, 1] is random: a fleet must not knock together."""
    cadence_s = PROBE_EVERY_S * (1 + PROBE_SPREAD * spread)
    if link.first_success_s is not None:
        held_s = now_s - link.first_success_s
        step_s = PROOF_STEP_S if held_s < PROOF_GAP_S else cadence_s
        return max(min(proof_gap_s(link, now_s) + PROOF_MARGIN_S - held_s, step_s), RETRY_AFTER_S[0])
    if link.state is LinkState.OFFLINE:
        # From the start of the last try: its time-out must not put off the moment that finds the line mended.
        took_s = link.window[-1].took_s if link.window else 0.0
        return max(cadence_s - took_s, RETRY_AFTER_S[0])
    return RETRY_AFTER_S[link.failures - 1] if link.failures else cadence_s


def _is_old_news(link: Link, failure: Sample) -> bool:
    if link.failures and link.failed_s is not None and failure.at_s - link.failed_s < SAME_EVENT_S:
        return True
    return link.succeeded_s is not None and failure.at_s - failure.took_s < link.succeeded_s


def _failed(link: Link, sample: Sample) -> Link:
    broke = (sample.at_s,) if link.failures == 0 else ()
    after = msgspec.structs.replace(
        link,
        failures=link.failures + 1,
        failed_s=sample.at_s,
        breaks=(*link.breaks, *broke)[-BREAKS_MAX:],
        window=_slide(link.window, sample),
    )
    if link.state is LinkState.OFFLINE:
        return msgspec.structs.replace(after, cause=_cause_offline(link, sample))
    if link.half_open or after.failures >= FAILURES_TO_OFFLINE:
        return msgspec.structs.replace(
            after,
            state=LinkState.OFFLINE,
            cause=sample.cause,
            mode="local",
            since_s=sample.at_s,
            first_success_s=None,
        )
    return _judge_quality(after, sample.at_s)


def _cause_offline(link: Link, sample: Sample) -> Cause:
    """A new cause is believed the second time in a row: each change is told to every till."""
    first = link.cause is Cause.STARTING
    again = bool(link.window) and link.window[-1].cause is sample.cause
    return sample.cause if first or again else link.cause


def _succeeded(link: Link, sample: Sample) -> Link:
    after = msgspec.structs.replace(
        link,
        failures=0,
        succeeded_s=sample.at_s,
        window=link.window if sample.bulk else _slide(link.window, sample),
    )
    if link.state is LinkState.OFFLINE:
        return msgspec.structs.replace(
            after,
            state=LinkState.DEGRADED,
            cause=Cause.PROVING,
            since_s=sample.at_s,
            first_success_s=sample.at_s,
            window=() if sample.bulk else (sample,),
        )
    if link.first_success_s is not None:
        if sample.at_s - link.first_success_s < proof_gap_s(link, sample.at_s):
            return after
        return msgspec.structs.replace(
            after,
            state=LinkState.ONLINE,
            cause=Cause.OK,
            mode="cloud",
            since_s=sample.at_s,
            first_success_s=None,
        )
    return _judge_quality(after, sample.at_s)


def _judge_quality(link: Link, now_s: float) -> Link:
    lost = sum(not sample.ok for sample in link.window)
    if link.state is LinkState.ONLINE:
        slow = _slower_than(SLOW_ENTER_S, link.window) >= SLOW_TO_ENTER
        if not slow and lost < LOST_TO_ENTER:
            return link
        return msgspec.structs.replace(
            link,
            state=LinkState.DEGRADED,
            cause=Cause.SLOW if slow else Cause.LOSSY,
            since_s=now_s,
            window=(),
        )
    well = lost <= EXCEPTIONS_TO_LEAVE and _slower_than(SLOW_LEAVE_S, link.window) <= EXCEPTIONS_TO_LEAVE
    if well and len(link.window) >= LEAVE_SAMPLES and now_s - link.since_s >= LEAVE_DWELL_S:
        return msgspec.structs.replace(link, state=LinkState.ONLINE, cause=Cause.OK, since_s=now_s)
    return link


def _slower_than(seconds: float, window: tuple[Sample, ...]) -> int:
    return sum(sample.ok and sample.took_s > seconds for sample in window)


def _slide(window: tuple[Sample, ...], sample: Sample) -> tuple[Sample, ...]:
    recent = tuple(earlier for earlier in window if sample.at_s - earlier.at_s < WINDOW_S)
    return (*recent, sample)[-WINDOW:]
