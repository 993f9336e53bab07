"""Samples of a line, and the link after them."""

from collections.abc import Iterable

from hypothesis import strategies as st

from appliance.domain.link import Cause, Link, Sample, observe

OK, LOST = Cause.OK, Cause.NO_ANSWER

# Seconds since the sample before, how it ended, how long it took, whether it was bulk.
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 5.0, 5.1, 30.0, 400.0]) | st.floats(0.0, 60.0),
        st.sampled_from([OK, OK, OK, LOST, LOST, Cause.NO_DNS]),
        st.sampled_from([0.0, 0.05, 0.7, 1.5, 2.0, 30.0]),
        st.booleans(),
    ),
    max_size=80,
)


def history(
    told: list[tuple[float, Cause, float, bool]], link: Link | None = None
) -> list[tuple[Sample, Link]]:
    """Each sample and the link after it."""
    link, at_s = link or Link(), 0.0
    seen = []
    for after_s, cause, took_s, bulk in told:
        at_s += after_s
        sample = Sample(at_s, cause, took_s, bulk)
        link = observe(link, sample)
        seen.append((sample, link))
    return seen


def run(samples: Iterable[tuple[float, Cause]], link: Link | None = None) -> Link:
    """The link after samples told as (time, cause)."""
    link = link or Link()
    for at_s, cause in samples:
        link = observe(link, Sample(at_s, cause, 0.02))
    return link


def online(at_s: float = 0.0) -> Link:
    """A link that proved itself up to this time."""
    return run([(at_s - 5.0, OK), (at_s, OK)])


def last_time(link: Link) -> float:
    return max(link.succeeded_s or 0.0, link.failed_s or 0.0, link.since_s)
