"""Chains of sealed events, as a box makes them."""

from typing import Any

from appliance.domain.event import GENESIS, ClockReading, Position, Sealed, follow, seal

BOX = "sb-aaaaaaaaaaaaaaaa"
START = Position(1, 0, GENESIS)
CLOCK = ClockReading("floor", "boot-1", 5)


def sealed_after(after: Position, data: Any = None, **other: Any) -> Sealed:
    fields: dict[str, Any] = {
        "box": BOX,
        "kind": "sale",
        "till": "till-1",
        "at": "2026-11-22T08:30:00.000Z",
        "clock": CLOCK,
    }
    return seal(after, **(fields | other), data=data)


def a_chain(datas: list[Any], start: Position = START) -> tuple[list[bytes], Position]:
    """The bodies of a chain, and its head."""
    bodies, after = [], start
    for data in datas:
        sealed = sealed_after(after, data)
        bodies.append(sealed.body)
        after = follow(after, sealed, box=BOX)
    return bodies, after
