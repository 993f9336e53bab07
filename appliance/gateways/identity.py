"""Who this box is: its keys, made here at first use, and what head office gave it at enrolment.

All are files in the state directory, each written whole. No private key ever leaves the machine.

A box is enrolled exactly when `enrolment.json` is there. Before, `enrolment.pending` holds the very request that was
made with a claim: after a power cut it is sent again, byte for byte, and gives the same answer.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from appliance import __version__
from appliance.domain.canonical import canonical
from appliance.domain.dsse import Envelope, Signer, read_envelope
from appliance.domain.enrolling import (
    Claim,
    EnrolAnswer,
    EnrolRequest,
    RenewAnswer,
    RenewRequest,
    claim_text,
    read_claim,
)
from appliance.domain.errors import BadSignature, ConfigError, Malformed
from appliance.domain.keychain import Keychain, Rotation, TlsKey
from appliance.domain.statements import (
    ENROLMENT_TYPE,
    PROBE_TYPE,
    RENEWAL_TYPE,
    TLS_KEY_TYPE,
    Keys,
    ProbeAnswer,
    sign,
    verify,
)
from appliance.domain.wire import Hello
from appliance.gateways.enrolment import Enrolment as Enrolment
from appliance.gateways.enrolment import Pending, keys_of, pin_of
from appliance.gateways.keyring import Keyring
from appliance.gateways.own_certificates import self_signed, till_authority
from appliance.runtime.certificates import (
    check_chain,
    csr,
    key_spki,
    load_or_create_p256,
    private_pem,
)
from appliance.runtime.clock import BUILT_AT, rfc3339
from appliance.runtime.files import sync_directory, write_whole
from appliance.runtime.keyfile import public_pem

Stage = Literal["unclaimed", "pending", "enrolled"]


class Identity:
    """The files of one box. Implements services.ports.LanKeys. Making one makes the keys that are missing; blocks."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._enrolment, self._pending = state / "enrolment.json", state / "enrolment.pending"
        self.keyring = Keyring(state)
        self.tls_key = load_or_create_p256(state / "tls-key.pem")
        self.spki = key_spki(self.tls_key)
        self.lan_ca_key = load_or_create_p256(state / "lan-ca-key.pem")
        self._till_ca_key = load_or_create_p256(state / "till-ca-key.pem")
        self._till_ca = till_authority(state / "till-ca.pem", self._till_ca_key, self.box)
        self._renewal_nonce = ""
        self._renewed: list[Callable[[], None]] = []

    @property
    def signer(self) -> Signer:
        """The event key that signs now."""
        return self.keyring.signer

    @property
    def box(self) -> str:
        """The box's name, which its first event key gave it."""
        return self.keyring.box

    @property
    def keychain(self) -> Keychain:
        """All its event keys."""
        return self.keyring.keychain

    @property
    def rotations(self) -> list[Rotation]:
        """How they followed one another."""
        return self.keyring.rotations

    # --- enrolment

    def state(self) -> Stage:
        """How far the box is."""
        if self._enrolment.exists():
            return "enrolled"
        return "pending" if self._pending.exists() else "unclaimed"

    def enrolment(self) -> Enrolment:
        """The enrolment. Raises ConfigError when there is none, when it is damaged, or another box's."""
        try:
            stored = msgspec.json.decode(self._enrolment.read_bytes(), type=Enrolment)
        except FileNotFoundError as error:
            raise ConfigError("this box is not enrolled: run `storebox enrol --claim CLAIM` first") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._enrolment}: {error}") from error
        if stored.answer.box != self.box:
            raise ConfigError(f"the enrolment is of {stored.answer.box}, this box is {self.box}")
        return stored

    def begin(self, claim: Claim) -> bytes:
        """The request with this claim: the one made before when it is the same claim, on disk when this returns."""
        text = claim_text(claim.url, claim.pin, claim.secret, claim.shop)
        if (pending := self._read_pending()) is not None and pending.claim == text:
            return pending.request.encode()
        nonce = secrets.token_hex(16)
        request = self.enrolment_request(claim.secret, nonce)
        write_whole(self._pending, canonical(Pending(text, nonce, request.decode())))
        return request

    def pending(self) -> Claim | None:
        """The claim that is being tried. A damaged file is none: nothing was gained with it yet."""
        pending = self._read_pending()
        return None if pending is None else read_claim(pending.claim)

    def finish(self, cloud_url: str, answer: EnrolAnswer) -> datetime | None:
        """Check the answer to the pending request, and be enrolled when this returns; the time that it proves.

        Raises BadSignature (it proves not what it must), ConfigError (it is another box's): nothing is changed then.
        """
        pending = self._read_pending()
        assert pending is not None  # begun
        pin = read_claim(pending.claim).pin
        at = None
        if answer.certificate or pin:
            self._check_certified(answer.certificate, answer.lan_certificate, answer.authority, pin)
        if answer.time is not None:
            at = self._heard(answer.time, pending.nonce, keys_of(answer.cloud_keys))
        self.keep_enrolment(cloud_url, answer, pin)
        self.tidy()
        return at

    def abandon(self) -> None:
        """The claim is refused for good: the box is as it was before it came."""
        self._pending.unlink(missing_ok=True)
        sync_directory(self._state)

    def tidy(self) -> None:
        """Once enrolled, forget what was pending: also when a power cut came before."""
        if self._pending.exists() and self._enrolment.exists():
            self.abandon()

    def enrolment_request(self, secret: str, nonce: str = "") -> bytes:
        """The envelope that asks for enrolment with a claim's secret: signed with the box's own key, as proof of it."""
        request = EnrolRequest(
            secret, public_pem(self.signer.public_key), nonce or secrets.token_hex(16), *self._requests()
        )
        return sign(self.signer, ENROLMENT_TYPE, request)

    def keep_enrolment(self, cloud_url: str, answer: EnrolAnswer, pin: str = "") -> None:
        """Store an enrolment: whole and on disk when this returns, or absent. Raises ConfigError for another box's."""
        if answer.box != self.box:
            raise ConfigError(f"the cloud enrolled {answer.box}, this box is {self.box}")
        write_whole(self._enrolment, canonical(Enrolment(cloud_url, answer, pin)))

    # --- renewal

    def listen(self, renewed: Callable[[], None]) -> None:
        """Have a function called, by the event loop, when the certificates are new; it must not wait."""
        self._renewed.append(renewed)

    def lasts(self) -> tuple[datetime, datetime] | None:
        """From when until when its certificate holds; None: it has none."""
        return self.enrolment().lasts()

    def renewal_request(self) -> bytes:
        """The envelope that asks to have the same keys certified anew: the event key is all its proof."""
        self._renewal_nonce = secrets.token_hex(16)
        request = RenewRequest(self.box, self._renewal_nonce, *self._requests())
        return sign(self.signer, RENEWAL_TYPE, request)

    def keep_renewal(self, answer: RenewAnswer) -> datetime:
        """Check the answer to the last request and store it; the time that it proves. Raises BadSignature."""
        enrolment = self.enrolment()
        pin = pin_of(enrolment.answer.authority)
        self._check_certified(answer.certificate, answer.lan_certificate, answer.authority, pin)
        at = self._heard(answer.time, self._renewal_nonce, enrolment.keys())
        renewed = msgspec.structs.replace(
            enrolment.answer,
            certificate=answer.certificate,
            lan_certificate=answer.lan_certificate,
            authority=answer.authority,
        )
        self.keep_enrolment(enrolment.cloud_url, renewed, enrolment.pin)
        return at

    def tell_renewed(self) -> None:
        """Call those who listen."""
        for listener in self._renewed:
            listener()

    # --- what it shows

    def client_identity(self) -> tuple[bytes, bytes]:
        """Key and chain that prove the box to head office. Raises ConfigError where it has no certificate."""
        certificate = self.enrolment().answer.certificate
        if not certificate:
            raise ConfigError("head office gave this box no certificate: enrol it again, over TLS")
        return self.tls_key_pem(), certificate.encode()

    def setup_identity(self) -> tuple[bytes, bytes]:
        """Key and a certificate that it signed itself: what an unclaimed box shows."""
        return self.tls_key_pem(), self_signed(self.tls_key, f"{self.box}.local")

    def tls_key_pem(self) -> bytes:
        """See ports.LanKeys."""
        return private_pem(self.tls_key)

    def lan_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
        """See ports.LanKeys. Raises ConfigError when head office gave none."""
        certificate = self.enrolment().answer.lan_certificate
        if not certificate:
            raise ConfigError("head office gave this box no certificate for its LAN: enrol it again over TLS")
        return certificate.encode(), self.lan_ca_key

    def till_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
        """See ports.LanKeys."""
        return self._till_ca, self._till_ca_key

    def vouch(self) -> bytes:
        """See ports.LanKeys. Without a time: the statement holds as long as the key does."""
        return sign(self.signer, TLS_KEY_TYPE, TlsKey(self.box, self.spki, rfc3339(BUILT_AT)))

    def hello(self, shop: str, name: str, *, tls: bool) -> Hello:
        """What it says of itself to anybody; without a shop it is unclaimed."""
        return Hello(
            box=self.box,
            shop=shop,
            name=name,
            software=__version__,
            fp=self.signer.key_id,
            key=public_pem(self.signer.public_key),
            state="ready" if shop else "unclaimed",
            tls=tls,
            spki=self.spki,
            vouch=read_envelope(self.vouch()),
            rotations=self.rotations,
        )

    def _requests(self) -> tuple[str, str]:
        return csr(self.tls_key, self.box), csr(self.lan_ca_key, self.box)

    def _check_certified(self, certificate: str, lan_certificate: str, authority: str, pin: str) -> None:
        if pin and pin_of(authority) != pin:
            raise BadSignature("the authority is not the one that is pinned")
        for chain, key in ((certificate, self.tls_key), (lan_certificate, self.lan_ca_key)):
            if check_chain(chain, authority).public_key() != key.public_key():
                raise BadSignature("a certificate is over another key than this box's")

    def _heard(self, envelope: Envelope, nonce: str, keys: Keys) -> datetime:
        said = verify(envelope, PROBE_TYPE, ProbeAnswer, keys)
        if (said.box, said.nonce) != (self.box, nonce):
            raise BadSignature("the time is not told to this box, or not now")
        return datetime.fromisoformat(said.at)

    def _read_pending(self) -> Pending | None:
        try:
            pending = msgspec.json.decode(self._pending.read_bytes(), type=Pending)
            read_claim(pending.claim)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, Malformed):
            return None
        return pending
