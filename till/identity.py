"""Who this till is to its box, and which box that is: the till's key, and the pairing that is bound to it.

The key is made here and never leaves. The pairing is one file, written whole: a till is paired or it is not.
"""

import ssl
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import BadSignature, ConfigError
from appliance.domain.keychain import TlsKey
from appliance.domain.pairing import PairAnswer
from appliance.domain.statements import TLS_KEY_TYPE, Keys, verify
from appliance.domain.wire import Hello
from appliance.runtime.certificates import csr, key_spki, load_or_create_p256, private_pem
from appliance.runtime.files import write_whole
from appliance.runtime.keyfile import read_public_pem
from appliance.runtime.tls import pinned_context
from till.errors import NotOurBox
from till.pin import Identity, identity_of

KEY_FILE, PAIRING_FILE = "till-key.pem", "pairing.json"


class Pairing(msgspec.Struct, frozen=True):
    """A till and its box. `hello` is the box as it proved itself last, `spki` its TLS key, vouched for at `vouched_at`.

    `authority`, `cloud_url` and `cloud_keys` are the chain's, as the box told them at pairing: a successor is judged
    by them.
    """

    till: str
    box: str
    shop: str
    spki: str
    hello: Hello
    token: str
    certificate: str
    authority: str
    cloud_url: str
    cloud_keys: list[str]
    addresses: list[str]
    vouched_at: str = ""

    @property
    def fp(self) -> str:
        """The box's event key."""
        return self.hello.fp

    def keys_of_head_office(self) -> Keys:
        """By their fingerprints."""
        keys = [read_public_pem(pem) for pem in self.cloud_keys]
        return {spki_fingerprint(key): key for key in keys}


class _Open(NamedTuple):
    pairing: Pairing
    context: ssl.SSLContext


class TillKeys:
    """The key and the pairing of one state directory. What writes or reads files is not for the event loop."""

    def __init__(self, state: Path) -> None:
        self._key_file, self._file = state / KEY_FILE, state / PAIRING_FILE
        self._open: _Open | None = None

    def load(self) -> None:
        """Read the pairing, if there is one. Blocks. Raises ConfigError when it is damaged."""
        if not self._file.exists():
            return
        try:
            pairing = msgspec.json.decode(self._file.read_bytes(), type=Pairing)
            identity_of(pairing.hello)
            self._open = _Open(pairing, self._context(pairing))
        except (OSError, ValueError, NotOurBox) as error:
            raise ConfigError(f"{self._file}: {error}") from error

    def csr(self, till: str) -> str:
        """A request for a certificate over this till's key, which is made when there is none. Blocks."""
        return csr(self._key(), till)

    @property
    def pairing(self) -> Pairing | None:
        """The pairing, when there is one."""
        return None if self._open is None else self._open.pairing

    @property
    def paired(self) -> Pairing:
        """The pairing. Raises ConfigError without one."""
        if self._open is None:
            raise ConfigError("this till is not paired: storebox-till pair")
        return self._open.pairing

    @property
    def context(self) -> ssl.SSLContext:
        """How the paired box is spoken to: its key and no other, and ours as proof of who we are."""
        assert self._open is not None  # paired
        return self._open.context

    def keep(self, answer: PairAnswer, spki: str) -> Pairing:
        """Trust this box, which has the TLS key `spki`, from now on. Blocks; on disk when this returns.

        Raises NotOurBox when the answer is not about our key, or not of one box.
        """
        identity = identity_of(answer.hello)
        if identity.box != answer.box:
            raise NotOurBox(f"{answer.box} lets us in under the name of {identity.box}")
        self._check_certificate(answer.certificate)
        pairing = Pairing(
            till=answer.till,
            box=answer.box,
            shop=answer.hello.shop,
            spki=spki,
            hello=answer.hello,
            token=answer.token,
            certificate=answer.certificate,
            authority=answer.authority,
            cloud_url=answer.cloud_url,
            cloud_keys=answer.cloud_keys,
            addresses=answer.addresses,
            vouched_at=_vouched_at(answer.hello, identity, spki),
        )
        return self._keep(pairing)

    def keep_hello(self, hello: Hello) -> None:
        """Remember how the paired box shows itself now: what it has rotated away is never believed again. Blocks."""
        self._keep(msgspec.structs.replace(self.paired, hello=hello))

    def keep_tls_key(self, hello: Hello, vouched: TlsKey) -> None:
        """From now on the paired box has this TLS key. Blocks."""
        pairing = msgspec.structs.replace(self.paired, hello=hello, spki=vouched.spki, vouched_at=vouched.at)
        self._keep(pairing)

    def _keep(self, pairing: Pairing) -> Pairing:
        context = self._context(pairing)
        write_whole(self._file, msgspec.json.encode(pairing), mode=0o600)
        self._open = _Open(pairing, context)
        return pairing

    def _context(self, pairing: Pairing) -> ssl.SSLContext:
        key = private_pem(self._key())
        try:
            return pinned_context(pairing.spki, (key, pairing.certificate.encode()))
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            raise ConfigError(f"{self._file}: the certificate does not fit the key: {error}") from error

    def _check_certificate(self, pem: str) -> None:
        try:
            key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        except ValueError as error:
            raise NotOurBox(f"the box gave no certificate: {error}") from error
        if spki_fingerprint(key) != key_spki(self._key()):
            raise NotOurBox("the box gave a certificate for another key")

    def _key(self) -> EllipticCurvePrivateKey:
        return load_or_create_p256(self._key_file)


def vouched(hello: Hello, identity: Identity, spki: str) -> TlsKey:
    """The box's own word that this TLS key is its own. Raises BadSignature when it does not give it."""
    if hello.vouch is None:
        raise BadSignature("the box does not vouch for its TLS key")
    said = verify(hello.vouch, TLS_KEY_TYPE, TlsKey, {identity.fp: identity.keys[identity.fp]})
    if (said.box, said.spki) != (identity.box, spki):
        raise BadSignature("the box vouches for another TLS key than it shows")
    return said


def _vouched_at(hello: Hello, identity: Identity, spki: str) -> str:
    try:
        return vouched(hello, identity, spki).at
    except BadSignature:
        return ""  # the pairing itself proved the key; a later one must then be vouched for at any time
