"""The event keys of one box: the one that signs, and those before it, in files.

A rotation is on disk in this order: the next key (`box-key.next.pem`); the journal's event that tells of it; the
statement in `rotations.json`; the next key in the place of the one before. What a power cut left between is finished
or undone by `settle`, before anything is signed.
"""

import base64
from pathlib import Path

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Envelope, Signer, spki_fingerprint
from appliance.domain.errors import BadSignature, ConfigError
from appliance.domain.identity import box_id
from appliance.domain.keychain import Keychain, KeyRotation, Rotation, keys_after, rotate
from appliance.runtime.files import sync_directory, write_whole
from appliance.runtime.keyfile import load_or_create, read_public_pem

ROTATIONS = "rotations.json"


class Keyring:
    """Making one makes the first key when there is none; blocks. Raises ConfigError for files that do not fit."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._key, self._next = state / "box-key.pem", state / "box-key.next.pem"
        self._file = state / ROTATIONS
        self._load()

    def _load(self) -> None:
        self.rotations: list[Rotation] = read_rotations(self._file)
        self.signer: Signer = load_or_create(self._key)
        first = self.signer.public_key
        try:
            if self.rotations:
                first = read_public_pem(_said(self.rotations[0].by_old).old)
            self.box = box_id(first)
            self.keychain: Keychain = keys_after(self.box, self.rotations, first)
        except BadSignature as error:
            raise ConfigError(f"{self._file}: {error}") from error
        if spki_fingerprint(self.keychain.current) != self.signer.key_id:
            # The statement is there, so the next key is the box's; only its name is still to be changed.
            following = load_or_create(self._next) if self._next.exists() else None
            if following is None or following.key_id != spki_fingerprint(self.keychain.current):
                raise ConfigError(f"{self._key} is not the key that {self._file} leads to")
            self._take_over(following)

    def prepare(self, at: str) -> Rotation:
        """Make the next key; the statement that it follows. Nothing has changed yet."""
        following = load_or_create(self._next)
        return rotate(self.box, len(self.rotations) + 1, self.signer, following, at)

    def settle(self, recorded: Rotation | None) -> bool:
        """Finish the rotation that the journal recorded last, or undo one that it did not; whether the key changed.

        The new key signs, on disk, when this returns.
        """
        if not self._next.exists():
            return False
        following = load_or_create(self._next)
        new = None if recorded is None else spki_fingerprint(read_public_pem(_said(recorded.by_new).new))
        if recorded is None or new != following.key_id:
            self._next.unlink()
            sync_directory(self._state)
            return False
        write_whole(self._file, canonical([*self.rotations, recorded]))
        self._load()
        return True

    def _take_over(self, following: Signer) -> None:
        self._next.replace(self._key)
        sync_directory(self._state)
        self.signer = following


def read_rotations(file: Path) -> list[Rotation]:
    """The rotations in a file, believed by nobody yet; none without a file. Raises ConfigError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Rotation])
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _said(envelope: Envelope) -> KeyRotation:
    """What an envelope says, believed by nobody yet."""
    try:
        return msgspec.json.decode(base64.b64decode(envelope.payload, validate=True), type=KeyRotation)
    except ValueError as error:
        raise BadSignature(f"not a key rotation: {error}") from error
