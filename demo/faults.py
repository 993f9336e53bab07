"""What can be wrong with a line beside being cut or slow: one value for each fault, and what it does to passing bytes.

Pure: no sockets, no clock. Bytes are counted on each connection from the moment a fault comes over it, so on a
connection that is kept open, from its next byte on. `up` is to head office, `down` is back.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

import msgspec

Way = Literal["up", "down"]
# What becomes of one way of a connection: it goes on; it hangs, open and mute; the connection is reset; it ends early.
Then = Literal["on", "hang", "reset", "end"]


class Swallow(msgspec.Struct, frozen=True):
    """A half-open line: after so many bytes nothing more comes out that way, and nobody is told.

    Down: what was asked is done, and the answer is lost. Up: the question never arrives.
    """

    way: Way
    after_bytes: int = 0


class Reset(msgspec.Struct, frozen=True):
    """Both ends are reset as soon as so many bytes have passed that way."""

    way: Way
    after_bytes: int = 0


class CutShort(msgspec.Struct, frozen=True):
    """That way ends in good order (a FIN) after so many bytes, as if nothing more had been meant."""

    way: Way
    after_bytes: int = 0


class Drip(msgspec.Struct, frozen=True):
    """After so many bytes each further one comes out by itself, this many a second; far below 1: a stall."""

    way: Way
    bytes_per_s: float
    after_bytes: int = 0


class Flip(msgspec.Struct, frozen=True):
    """One bit comes out as its opposite: number `bit` (8 a byte, the lowest first) of what passes that way."""

    way: Way
    bit: int


class Refuse(msgspec.Struct, frozen=True):
    """Whoever connects is reset at once."""


class Duplicate(msgspec.Struct, frozen=True):
    """What the shop sends is delivered a second time, so much later, over a connection that nobody listens to."""

    delay_s: float = 0.0


class Jitter(msgspec.Struct, frozen=True):
    """Each piece is held up for any time up to this, both ways; order on a connection stays."""

    up_to_s: float


Fault: TypeAlias = Swallow | Reset | CutShort | Drip | Flip | Refuse | Duplicate | Jitter


class Affliction:
    """A fault that lies on the line. It strikes `times` connections and no more; None: all of them."""

    def __init__(self, fault: Fault, times: int | None) -> None:
        self.fault = fault
        self.times = times
        self.struck = 0

    @property
    def spent(self) -> bool:
        """Whether it has struck as often as it may."""
        return self.times is not None and self.struck >= self.times

    def strike(self) -> bool:
        """Strike one more connection, unless it is spent."""
        if self.spent:
            return False
        self.struck += 1
        return True


class Passed(NamedTuple):
    """What comes out of what went in: pieces with the seconds that each takes, then what becomes of the way."""

    pieces: list[tuple[bytes, float]]
    then: Then = "on"


class Course:
    """One way of one connection: what has passed since each fault came over it."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._seen: dict[Affliction, int] = {}
        self._struck: set[Affliction] = set()

    def take(self, data: bytes, afflictions: Iterable[Affliction]) -> Passed:
        """What these bytes become; none (b"") is the end of what is sent."""
        then: Then = "on" if data else "end"
        drips: list[tuple[int, float]] = []
        for affliction in afflictions:
            match affliction.fault:
                case Drip(way, bytes_per_s, after) if way == self._way:
                    if data and (free := self._free(affliction, len(data), after)) is not None:
                        drips.append((free, bytes_per_s))
                case Flip(way, bit) if way == self._way:
                    data = self._flipped(affliction, data, bit)
                case Swallow(way, after) | Reset(way, after) | CutShort(way, after) if way == self._way:
                    if (free := self._free(affliction, len(data), after)) is not None:
                        data, then = data[:free], _END_OF[type(affliction.fault)]
                case _:
                    pass  # not of this way, or not of bytes
        return Passed(_dripped(data, drips), then)

    def _free(self, affliction: Affliction, size: int, after: int) -> int | None:
        """How many of these bytes pass before the fault strikes; None when all do."""
        seen = self._seen.get(affliction, 0)
        self._seen[affliction] = seen + size
        if seen + size < after:
            return None
        return max(0, after - seen) if self._strikes(affliction) else None

    def _flipped(self, affliction: Affliction, data: bytes, bit: int) -> bytes:
        seen = self._seen.get(affliction, 0)
        self._seen[affliction] = seen + len(data)
        at = bit // 8 - seen
        if not 0 <= at < len(data) or not self._strikes(affliction):
            return data
        return data[:at] + bytes([data[at] ^ 1 << bit % 8]) + data[at + 1 :]

    def _strikes(self, affliction: Affliction) -> bool:
        if affliction not in self._struck and affliction.strike():
            self._struck.add(affliction)
        return affliction in self._struck


_END_OF: dict[type, Then] = {Swallow: "hang", Reset: "reset", CutShort: "end"}


def _dripped(data: bytes, drips: Iterable[tuple[int, float]]) -> list[tuple[bytes, float]]:
    free, bytes_per_s = min(drips, default=(len(data), 1.0))
    pieces = [(data[:free], 0.0)] if free and data else []
    return pieces + [(data[at : at + 1], 1.0 / bytes_per_s) for at in range(free, len(data))]
