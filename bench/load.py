"""Load a server with tills that press, from a process beside it, and say what came of it."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import psutil
from msgspec.structs import replace

from appliance.domain.catalogue import Article
from bench.processes import Server, call, python
from bench.rounds import percentile


class Till(msgspec.Struct, frozen=True):
    """A paired till."""

    name: str
    token: str


class Job(msgspec.Struct, frozen=True):
    """What to do. `articles` are what is sold; with `lookups`, their codes are asked for instead.

    With `per_s` the clients send so many requests a second between them, each at moments of its own; a client whose
    answer is late sends its next at once, and its wait counts from when that was due. Without, each sends its next
    when the answer to the last is there.
    """

    host: str
    port: int
    clients: int
    seconds: float
    tills: list[Till]
    articles: list[Article]
    lookups: bool = False
    per_s: float = 0.0
    seed: int = 1


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. `answers` counts what came in the time that counts, `served` also the warm-up's."""

    answers: int
    served: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0.0  # of the server, all its threads, for one answer


def load(
    server: Server,
    clients: int,
    seconds: float,
    tills: list[Till],
    articles: list[Article],
    *,
    lookups: bool = False,
    per_s: float = 0.0,
) -> Outcome:
    """Load a server from a process beside it. Raises Failed when an answer was not the one asked for."""
    job = Job(*server.address, clients, seconds, tills, articles, lookups, per_s)
    before_s = cpu_s(server.pid)
    done = msgspec.json.decode(call(python("-m", "bench.client"), msgspec.json.encode(job)), type=Outcome)
    return replace(done, cpu_us=1e6 * (cpu_s(server.pid) - before_s) / done.served)


def cpu_s(pid: int) -> float:
    """The processor time that a process has had, in user and kernel mode."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def series(
    taken: Mapping[str, Sequence[Outcome]], value: Callable[[Outcome], float]
) -> dict[str, list[float]]:
    """One value out of the outcomes of all rounds, by the name of what ran."""
    return {name: [value(done) for done in outcomes] for name, outcomes in taken.items()}


def outcome(taken_ns: Sequence[int], seconds: float, served: int = 0) -> Outcome:
    """The outcome of answers that took so long each, and came within `seconds`."""
    count = len(taken_ns)
    p50_ms, p99_ms = (percentile(taken_ns, share) / 1e6 for share in (0.5, 0.99))
    return Outcome(count, served or count, count / seconds, p50_ms, p99_ms)
