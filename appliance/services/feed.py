"""Tell listeners what changed. Each topic has one current view; a slow listener misses steps, never the last state."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec


class Subscription:
    """One listener's pending topics; at most one entry per topic, so it never grows."""

    def __init__(self, current: dict[str, msgspec.Struct]) -> None:
        self._pending = dict(current)
        self._wake = asyncio.Event()
        if self._pending:
            self._wake.set()

    def offer(self, topic: str, view: msgspec.Struct) -> None:
        """Replace what is pending for a topic."""
        self._pending[topic] = view
        self._wake.set()

    async def next(self) -> tuple[str, msgspec.Struct]:
        """The next topic that changed and its latest view; waits for one."""
        await self._wake.wait()
        topic = next(iter(self._pending))
        view = self._pending.pop(topic)
        if not self._pending:
            self._wake.clear()
        return topic, view


class Feed:
    """The current view of every topic, and who wants to hear of changes."""

    def __init__(self) -> None:
        self._current: dict[str, msgspec.Struct] = {}
        self._subscriptions: set[Subscription] = set()

    def publish(self, topic: str, view: msgspec.Struct) -> None:
        """Set a topic's view; listeners hear of it only when it differs from the one before."""
        if self._current.get(topic) == view:
            return
        self._current[topic] = view
        for subscription in self._subscriptions:
            subscription.offer(topic, view)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Listen while inside, beginning with the current view of every topic."""
        subscription = Subscription(self._current)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
