"""The head file: the last signed head of this box, kept outside the database as a witness against it.

A journal that was put back to an earlier state, or that lost its tail, is whole in itself: only something that was
not put back with it can tell. It holds the envelope as the box signed it, so a damaged file is no witness at all.
"""

import logging
from pathlib import Path

from appliance.domain.errors import BadSignature
from appliance.domain.statements import HEAD_TYPE, Head, Keys, verify
from appliance.runtime.files import write_whole

log = logging.getLogger(__name__)


class HeadFile:
    """One file of one box. Blocks: to be called on a thread."""

    def __init__(self, path: Path, keys: Keys) -> None:
        self._path = path
        self._keys = keys

    def read(self) -> Head | None:
        """The head it holds; None when there is no file, or none that this box signed."""
        try:
            return self.verified(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (BadSignature, OSError) as error:
            log.error("head_file.unreadable", extra={"file": self._path.name, "why": str(error)})
            return None

    def verified(self, envelope: bytes) -> Head:
        """The head in an envelope that this box signed. Raises BadSignature."""
        return verify(envelope, HEAD_TYPE, Head, self._keys)

    def write(self, envelope: bytes) -> None:
        """Replace it; on disk when this returns. Raises OSError."""
        write_whole(self._path, envelope)
