"""When a checkpoint of the journal is due: what stands in the WAL alone, counted."""

# Events between checkpoints: about 200 WAL pages when they come singly; a flipped bit in the WAL costs its tail.
CHECKPOINT_EVENTS = 64
# A checkpoint costs two fsyncs during which no sale is acked: it waits for a moment in which none comes, but not
# beyond so many groups or events. A group takes three pages of the WAL at least: some 12 MB at most.
CHECKPOINT_IDLE_S = 0.05
CHECKPOINT_GROUPS_MAX = 1_024
CHECKPOINT_EVENTS_MAX = 4_096


class Unchecked:
    """Events and groups since the last checkpoint that copied everything."""

    def __init__(self) -> None:
        self._events = self._groups = 0

    @property
    def due(self) -> bool:
        """A checkpoint is worth an idle moment."""
        return self._events >= CHECKPOINT_EVENTS

    @property
    def overdue(self) -> bool:
        """It cannot wait for one."""
        return self._events >= CHECKPOINT_EVENTS_MAX or self._groups >= CHECKPOINT_GROUPS_MAX

    def add(self, events: int) -> None:
        """A transaction wrote so many events, or took them away."""
        self._events += events
        self._groups += 1

    def clear(self) -> None:
        """All of it was copied."""
        self._events = self._groups = 0
