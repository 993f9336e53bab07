"""A batch of events on the wire: a signed head, then the verbatim events it ends with, as zstd over NDJSON."""

from collections.abc import Sequence
from typing import NamedTuple

import zstandard

from appliance.domain.errors import Malformed, TooLarge
from appliance.domain.wire import BATCH_BYTES_MAX, BATCH_EVENTS_MAX

# Level 3: 5 us for a sale, and higher levels win little on such small texts (measured beside levels 1 and 10).
_LEVEL = 3
# Lines joined at a time: a batch need not stand twice in the memory, nor cost a call for each event.
_LINES = 64


class Batch(NamedTuple):
    """An unpacked batch: the head's envelope and the events' bytes, neither verified yet."""

    head: bytes
    bodies: list[bytes]


def pack(head: bytes, bodies: Sequence[bytes]) -> bytes:
    """The request body for these events; `head` signs the last of them. Events hold no line feeds (canonical JSON)."""
    size = len(head) + sum(map(len, bodies)) + len(bodies)
    frame = zstandard.ZstdCompressor(level=_LEVEL).compressobj(size=size)
    packed = [frame.compress(head)]
    for begin in range(0, len(bodies), _LINES):
        packed.append(frame.compress(b"\n".join((b"", *bodies[begin : begin + _LINES]))))
    return b"".join((*packed, frame.flush()))


def unpack(body: bytes) -> Batch:
    """Raises Malformed (not one whole zstd frame, no events) or TooLarge (more events or bytes than a batch holds)."""
    text = _decompress(body)
    head, *bodies = text.split(b"\n", BATCH_EVENTS_MAX + 1)
    if not bodies:
        raise Malformed("a batch holds a signed head and at least one event")
    if len(bodies) > BATCH_EVENTS_MAX:
        raise TooLarge(f"a batch holds at most {BATCH_EVENTS_MAX} events")
    return Batch(head, bodies)


def _decompress(body: bytes) -> bytes:
    # A frame tells its size before anything is unpacked (RFC 8878 section 3.1.1.1.4; one that does not is refused), so
    # a small body cannot claim much memory. Unpacked in one go, a frame that was cut is noticed; a stream reader gives
    # out what there is.
    try:
        if zstandard.frame_content_size(body) > BATCH_BYTES_MAX:
            raise TooLarge(f"a batch holds at most {BATCH_BYTES_MAX} bytes")
        return zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"not a whole zstd frame: {error}") from error
