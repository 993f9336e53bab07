"""Notice that somebody else speaks under our instance name, long after it was ours alone (RFC 6762 section 9).

Two halves of a shop's network are joined, or a box was away while another took the name: probing at the start does
not see that. What is heard under the name is ours when it names our id or our host; a reflector may repeat us at will.
"""

from collections.abc import Callable
from typing import NamedTuple

from zeroconf import RecordUpdate, RecordUpdateListener, Zeroconf
from zeroconf._dns import DNSRecord, DNSService, DNSText

# A record that lives no longer is a goodbye.
_GOODBYE_S = 1


class Rival(NamedTuple):
    """Who else holds our name: a box by its id, anything else by its host."""

    box: str | None
    host: str

    def yields_to(self, box: str) -> bool:
        """Whether the name is ours by right: of two boxes the one with the lower id keeps it, as both can tell."""
        return self.box is not None and box < self.box


class ConflictWatch(RecordUpdateListener):
    """Listens to all that is heard; `rivalled` is called for each record of a rival under this instance name."""

    def __init__(self, instance: str, box: str, rivalled: Callable[[Rival], None]) -> None:
        self._instance = instance.lower()
        self._box = box
        self._rivalled = rivalled

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002  zeroconf calls it
        """See RecordUpdateListener."""
        for update in records:
            if (rival := self._rival(update.new)) is not None:
                self._rivalled(rival)

    def _rival(self, record: DNSRecord) -> Rival | None:
        if record.name.lower() != self._instance or record.ttl <= _GOODBYE_S:
            return None
        if isinstance(record, DNSText):
            box = _id_in(record.text)
            return None if box == self._box else Rival(box, "")
        if isinstance(record, DNSService):
            host = record.server.lower()
            return None if host == f"{self._box}.local." else Rival(_box_at(host), host)
        return None


def _id_in(text: bytes) -> str | None:
    """The value of `id` in a TXT record: entries, each behind a byte that says how long it is (RFC 6763 6.1)."""
    while text:
        entry, text = text[1 : 1 + text[0]], text[1 + text[0] :]
        if entry.startswith(b"id="):
            return entry.removeprefix(b"id=").decode(errors="replace")
    return None


def _box_at(host: str) -> str | None:
    return host.removesuffix(".local.") if host.startswith("sb-") else None
