"""Who may have a connection, and for how long it may be silent: so that strangers cannot crowd out tills.

Counted per address before a byte is read, and watched until the end. It knows connections, not what is said on them:
whoever serves a request tells when it begins and ends, and how long the connection may then wait for the next.
"""

import asyncio
import gc
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause

log = logging.getLogger(__name__)

# While strangers are here; tills alone are looked at less often, and an idle box should sleep.
SWEEP_S, CALM_SWEEP_S = 1.0, 10.0
# What was refused is told in sums, this often, and of so many addresses by name.
TOLD_S = 60.0
ADDRESSES_TOLD = 8
# What a connection leaves holds itself, with a quarter of a megabyte of buffers over TLS, and the garbage collector is
# set to come rarely: after so many connections it is called.
ENDED_MAX = 64
# The machine's own programs are not limited by address: they are few, and the technician's last way in.
EXEMPT = frozenset({"127.0.0.1", "::1"})


class Bounds(Protocol):
    """The numbers; `appliance.config.Limits` has them."""

    @property
    def connections_max(self) -> int: ...
    @property
    def connections_per_address(self) -> int: ...
    @property
    def handshakes_max(self) -> int: ...
    @property
    def handshakes_per_address(self) -> int: ...
    @property
    def handshake_s(self) -> float: ...
    @property
    def first_request_s(self) -> float: ...
    @property
    def idle_s(self) -> float: ...
    @property
    def request_s(self) -> float: ...
    @property
    def write_s(self) -> float: ...


class Cuttable(Protocol):
    """What the guard does with a transport."""

    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def get_write_buffer_size(self) -> int: ...


class Visit:
    """A connection, from before its handshake to its end."""

    __slots__ = ("address", "answering", "cut", "known", "transport", "unsent", "unsent_s", "until_s")

    def __init__(self, address: str, cut: Callable[[], object], until_s: float) -> None:
        self.address = address
        self.cut = cut
        # When it is cut, unless something happens before.
        self.until_s = until_s
        self.transport: Cuttable | None = None  # None: it is still shaking hands
        self.known = False
        # Whether the answer to the request at hand has begun; None: there is no request, or nobody can tell.
        self.answering: Callable[[], bool] | None = None
        self.unsent, self.unsent_s = 0, 0.0


class Guard:
    """All connections of one port."""

    def __init__(self, bounds: Bounds, clock: Clock) -> None:
        self.bounds = bounds
        self._clock = clock
        self._visits: dict[Visit, None] = {}  # in the order they came
        self._by_transport: dict[object, Visit] = {}
        self._counts: Counter[str] = Counter()
        self._handshakes: Counter[str] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._told_s = clock.monotonic()
        self._ended = 0
        self._came = asyncio.Event()

    def admit(self, address: str, cut: Callable[[], object]) -> Visit | None:
        """Count a connection that wants in; `cut` ends it while it shakes hands. None: it is to be closed at once.

        When there is no room at all, the stranger who has been here longest makes some: never a till.
        """
        place, bounds = place_of(address), self.bounds
        if self._crowded(place):
            self._forget_ended()
            if self._crowded(place):
                self.refuse(place, "connections")
                return None
        if len(self._visits) >= bounds.connections_max:
            self._forget_ended()
        waiting = self._handshakes.total()
        if len(self._visits) >= bounds.connections_max or waiting >= bounds.handshakes_max:
            self._make_room(waiting >= bounds.handshakes_max)
            if len(self._visits) >= bounds.connections_max:
                self.refuse(place, "full")
                return None
        visit = Visit(place, cut, self._clock.monotonic() + bounds.handshake_s)
        self._visits[visit] = None
        self._came.set()
        self._counts[place] += 1
        self._handshakes[place] += 1
        return visit

    def opened(self, visit: Visit, transport: Cuttable) -> None:
        """The handshake is done: the first request has to come soon."""
        if visit not in self._visits:
            transport.abort()  # it made room in the very moment it was done
            return
        self._shaken(visit)
        visit.cut, visit.transport = transport.abort, transport
        visit.until_s = self._clock.monotonic() + self.bounds.first_request_s
        self._by_transport[transport] = visit

    def failed(self, visit: Visit, why: str) -> None:
        """The handshake came to nothing."""
        if visit in self._visits:
            self.refuse(visit.address, why)
            self._forget(visit)

    def busy(self, transport: object, answering: Callable[[], bool] | None = None) -> None:
        """A request has come. Its answer must begin soon; then it may last, as long as the peer takes it."""
        visit = self._by_transport.get(transport)
        if visit is not None:
            visit.until_s = self._clock.monotonic() + self.bounds.request_s
            visit.answering = answering

    def idle(self, transport: object, patience_s: float | None) -> None:
        """The request is answered. The next one may take `patience_s`; None: it was a stranger's."""
        visit = self._by_transport.get(transport)
        if visit is not None:
            visit.known = patience_s is not None
            until_s = self.bounds.first_request_s if patience_s is None else patience_s
            visit.until_s = self._clock.monotonic() + until_s
            visit.answering = None

    def refuse(self, address: str, why: str) -> None:
        """Count what was refused; it is told in sums, since a line for each would be a flood of its own."""
        key = (address, why)
        if key not in self._refused and len(self._refused) >= self.bounds.connections_max:
            key = ("others", why)
        self._refused[key] += 1

    def middleware(self, known: Callable[[web.Request], bool]) -> Middleware:
        """Tells of requests that aiohttp serves. `known`: whether who asked turned out to be one of ours."""

        @web.middleware
        async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
            transport, writer = request.transport, request.writer
            self.busy(transport, lambda: writer.output_size > 0)
            try:
                return await handler(request)
            finally:
                self.idle(transport, self.bounds.idle_s if known(request) else None)

        return watched

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            self._came.clear()
            if all(visit.known for visit in self._visits):
                await pause(self._clock, CALM_SWEEP_S, self._came)
            else:
                await self._clock.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Cut who is silent for too long, sends too slowly, or does not take its answer."""
        self._forget_ended()
        now_s = self._clock.monotonic()
        for visit in list(self._visits):
            late = now_s >= visit.until_s and not (visit.answering is not None and visit.answering())
            if late or self._stuck(visit, now_s):
                self.refuse(visit.address, "slow")
                visit.cut()
                self._forget(visit)
        if self._ended >= ENDED_MAX:
            self._ended = 0
            gc.collect()
        if now_s - self._told_s >= TOLD_S:
            self._told_s = now_s
            self._tell()

    def _crowded(self, place: str) -> bool:
        if place in EXEMPT:
            return False
        bounds = self.bounds
        return (
            self._counts[place] >= bounds.connections_per_address
            or self._handshakes[place] >= bounds.handshakes_per_address
        )

    def _make_room(self, of_handshakes: bool) -> None:
        strangers = [v for v in self._visits if not v.known and (v.transport is None or not of_handshakes)]
        if strangers:
            longest = min(strangers, key=lambda visit: visit.until_s)
            self.refuse(longest.address, "made room")
            longest.cut()
            self._forget(longest)

    def _stuck(self, visit: Visit, now_s: float) -> bool:
        unsent = 0 if visit.transport is None else visit.transport.get_write_buffer_size()
        if visit.unsent == 0 or unsent < visit.unsent:
            visit.unsent_s = now_s  # it begins to wait, or some was taken
        visit.unsent = unsent
        return now_s - visit.unsent_s >= self.bounds.write_s and unsent > 0

    def _forget_ended(self) -> None:
        for visit in [v for v in self._visits if v.transport is not None and v.transport.is_closing()]:
            self._forget(visit)

    def _shaken(self, visit: Visit) -> None:
        _less(self._handshakes, visit.address)

    def _forget(self, visit: Visit) -> None:
        del self._visits[visit]
        self._ended += 1
        _less(self._counts, visit.address)
        if visit.transport is None:
            self._shaken(visit)
        else:
            self._by_transport.pop(visit.transport, None)

    def _tell(self) -> None:
        refused, self._refused = self._refused, Counter()
        for (address, why), times in refused.most_common(ADDRESSES_TOLD):
            log.warning("guard.refused", extra={"address": address, "why": why, "times": times})
        if len(refused) > ADDRESSES_TOLD:
            rest = refused.total() - sum(times for _, times in refused.most_common(ADDRESSES_TOLD))
            log.warning("guard.refused", extra={"address": "others", "why": "any", "times": rest})


def _less(counts: Counter[str], place: str) -> None:
    counts[place] -= 1
    if counts[place] <= 0:
        del counts[place]


def place_of(address: str) -> str:
    """What counts as one address: a host has a whole /64 of IPv6 to itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed.is_loopback:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
