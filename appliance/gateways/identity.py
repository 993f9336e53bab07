"""Who this box is: its signing key, made here at first use, and what the cloud gave it at enrolment.

Both are files in the state directory, each written whole. The key never leaves the machine.
"""

import secrets
from pathlib import Path

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer, spki_fingerprint
from appliance.domain.enrolling import EnrolAnswer, EnrolRequest
from appliance.domain.errors import ConfigError
from appliance.domain.identity import box_id
from appliance.domain.statements import ENROLMENT_TYPE, Keys, sign
from appliance.runtime.files import write_whole
from appliance.runtime.keyfile import load_or_create, public_pem, read_public_pem


class Enrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `storebox enrol` stored: where the box belongs, and whom it believes."""

    cloud_url: str
    answer: EnrolAnswer

    def keys(self) -> Keys:
        """The cloud's keys by fingerprint."""
        keys = [read_public_pem(pem) for pem in self.answer.cloud_keys]
        return {spki_fingerprint(key): key for key in keys}


class Identity:
    """The files of one box."""

    def __init__(self, state: Path) -> None:
        self._enrolment = state / "enrolment.json"
        self.signer: Signer = load_or_create(state / "box-key.pem")
        self.box = box_id(self.signer.public_key)

    def enrolment(self) -> Enrolment:
        """The enrolment. Raises ConfigError when there is none, or when it is another box's."""
        try:
            stored = msgspec.json.decode(self._enrolment.read_bytes(), type=Enrolment)
        except FileNotFoundError as error:
            raise ConfigError("this box is not enrolled: run `storebox enrol --claim CLAIM` first") from error
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self._enrolment}: {error}") from error
        if stored.answer.box != self.box:
            raise ConfigError(f"the enrolment is of {stored.answer.box}, this box is {self.box}")
        return stored

    def enrolment_request(self, secret: str) -> bytes:
        """The envelope that asks for enrolment with a claim's secret: signed with the box's own key, as proof of it."""
        request = EnrolRequest(secret, public_pem(self.signer.public_key), secrets.token_hex(16))
        return sign(self.signer, ENROLMENT_TYPE, request)

    def keep_enrolment(self, cloud_url: str, answer: EnrolAnswer) -> None:
        """Store an enrolment: whole and on disk when this returns, or absent. Raises ConfigError for another box's."""
        if answer.box != self.box:
            raise ConfigError(f"the cloud enrolled {answer.box}, this box is {self.box}")
        write_whole(self._enrolment, canonical(Enrolment(cloud_url, answer)))
