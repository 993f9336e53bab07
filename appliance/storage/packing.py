"""Events and signed heads at rest: zstd frames (RFC 8878) against a dictionary of what events have in common.

A sale is a sixth of itself so: fewer bytes to a card that dies of bytes, and more events in a page. What a chain
proves are the bytes that come out again, so a packed body that is damaged is found where every damage is found.

The first byte tells the form: `{` begins plain JSON, as releases before this one wrote it and as what does not get
smaller stays; 1 begins a frame for the first dictionary. A dictionary never changes: a better one gets the next number
(`python -m bench.dictionary` trains it).
"""

import threading
from collections.abc import Sequence
from importlib.resources import files

import zstandard

from appliance.domain.event import EVENT_BYTES_MAX

_FORM = b"\x01"
DICTIONARY_BYTES = (files("appliance.storage") / "schema" / "events-1.zdict").read_bytes()
_DICTIONARY = zstandard.ZstdCompressionDict(DICTIONARY_BYTES)
_LEVEL = 1
_DICTIONARY.precompute_compress(level=_LEVEL)  # else each body would read the dictionary first


class Packer:
    """Packs the bodies of one journal; for one thread at a time."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_DICTIONARY, write_dict_id=False)

    def pack(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Each body as it is stored.

        Many in one call, which gives the interpreter's lock away once: under load whoever gives it away waits for it.
        """
        if len(bodies) == 1:  # alone it costs half as much by itself
            return [_shorter(self._compressor.compress(bodies[0]), bodies[0])]
        frames = self._compressor.multi_compress_to_buffer(list(bodies))
        return [_shorter(frames[number].tobytes(), body) for number, body in enumerate(bodies)]


def _shorter(frame: bytes, body: bytes) -> bytes:
    return _FORM + frame if len(frame) < len(body) else body


def unpack(stored: bytes) -> bytes:
    """The body that was stored. What cannot be unpacked comes back as it is: no event, as whoever reads it finds."""
    if not isinstance(stored, bytes):
        return b""  # a row that rotted into nothing
    if stored[:1] != _FORM:
        return stored
    frame = memoryview(stored)[1:]
    try:
        if not 0 < zstandard.frame_content_size(frame) <= EVENT_BYTES_MAX:
            return stored
        return _decompressor().decompress(frame)
    except zstandard.ZstdError:
        return stored


def _decompressor() -> zstandard.ZstdDecompressor:
    """This thread's own: they are not safe to share, and a new one for each body costs as much as ten bodies."""
    found: zstandard.ZstdDecompressor | None = getattr(_threads, "decompressor", None)
    if found is None:
        found = _threads.decompressor = zstandard.ZstdDecompressor(dict_data=_DICTIONARY)
    return found


_threads = threading.local()
