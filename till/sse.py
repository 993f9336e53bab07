"""Read a server-sent event stream (WHATWG HTML, section 9.2): bytes in, messages out. Pure."""

from collections.abc import Iterator

import msgspec

from appliance.domain.errors import Malformed

# A box's messages hold a few hundred bytes; whoever sends more without ending a line or a message is no box.
PENDING_BYTES_MAX = 64 * 1024


class Message(msgspec.Struct, frozen=True):
    """One message: its event name and its data lines, joined."""

    event: str
    data: str


class Parser:
    """Feed it chunks as they come; lines may end in LF, CR or CRLF, and chunks may end anywhere."""

    def __init__(self) -> None:
        self._pending = b""
        self._first = True
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """The messages that this chunk completes. Raises Malformed when what is unfinished grows too large."""
        self._pending += chunk
        # A CR at the very end may be half of a CRLF: it waits for what comes next.
        text = self._pending
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, rest = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._pending = rest + held
        for line in lines:
            yield from self._line(line)
        if len(self._pending) + sum(map(len, self._data)) > PENDING_BYTES_MAX:
            raise Malformed(f"an event stream holds more than {PENDING_BYTES_MAX} bytes of one message")

    def _line(self, line: bytes) -> Iterator[Message]:
        text = line.decode(errors="replace")
        if self._first:
            self._first, text = False, text.removeprefix("\ufeff")
        if not text:
            if self._data:
                yield Message(self._event or "message", "\n".join(self._data))
            self._event, self._data = "", []
            return
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
