"""Canonical JSON: one value, one sequence of bytes.

The subset of RFC 8785 that events use: objects with ASCII keys, arrays, strings, booleans, null and integers
within ±(2**53 - 1). No floats: amounts are integers and quantities are text. Within it the bytes equal RFC 8785's.
Nothing here checks that a value stays within: the types of what is signed do.
"""

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(value: Any) -> bytes:
    """The one encoding of a value: UTF-8, keys sorted, no white space. Types are msgspec's."""
    return _encoder.encode(value)
