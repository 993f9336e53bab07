"""TLS contexts. Dates are judged by us, not by OpenSSL, which knows only the wall clock: see `dates_judge`.

OpenSSL still checks everything else: the chain's signatures, names and constraints, and that the peer has its key.
Then a context's judge sees the peer's certificate, at the end of each handshake and before any byte of the program.
"""

import asyncio
import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from cryptography import x509

from appliance.domain.dsse import spki_fingerprint
from appliance.runtime.clock import rfc3339
from appliance.runtime.trusted_time import TrustedClock

# Given the peer's certificate (DER; None when it showed none); raises ssl.SSLCertVerificationError to refuse it.
Judge = Callable[[bytes | None], None]
Minimum = Literal["1.3", "1.2"]

# X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h); the ssl module has no name for it.
_NO_CHECK_TIME = 0x200000
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"


class _JudgedObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        cast(JudgedContext, self.context).judge(self.getpeercert(True))


class _JudgedSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        cast(JudgedContext, self.context).judge(self.getpeercert(True))


class JudgedContext(ssl.SSLContext):
    """A context whose handshakes end only when `judge` has seen the peer's certificate; serves asyncio and sockets."""

    # For asyncio and uvloop, and for http.client.
    sslobject_class = _JudgedObject
    sslsocket_class = _JudgedSocket
    judge: Judge

    def __new__(cls, protocol: int, judge: Judge, *_args: Any) -> "JudgedContext":
        """As ssl.SSLContext(protocol); TLS 1.3 only, and no dates checked but by the judge."""
        context = super().__new__(cls, protocol)
        context.judge = judge
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= _NO_CHECK_TIME
        return context


def server_context(
    chain: Path | tuple[bytes, bytes], *, clients: str | None, minimum: Minimum
) -> JudgedContext:
    """For a server. `chain`: a PEM file with key and certificates, or (key, chain).

    `clients`: PEM of the authorities whose client certificates are taken, though none is asked for; who shows one of
    another authority is not let in. What a certificate allows, and whether its dates matter, is the program's affair.
    """
    context = JudgedContext(ssl.PROTOCOL_TLS_SERVER, _anybody)
    if minimum == "1.2":
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS_1_2)
    context.num_tickets = 0  # a connection is kept; a ticket would only outlive what it was given for
    if isinstance(chain, Path):
        context.load_cert_chain(chain)
    else:
        load_identity(context, *chain)
    if clients is not None:
        context.load_verify_locations(cadata=clients)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(
    *, authority: str | None, judge: Judge, identity: tuple[bytes, bytes] | None
) -> JudgedContext:
    """For a client that knows the server by name and by the chain up to `authority` (PEM).

    None: any authority of the system's store, and TLS 1.2 too, since then somebody else's proxy answers. `identity`:
    (key, chain) that the server may ask for.
    """
    context = JudgedContext(ssl.PROTOCOL_TLS_CLIENT, judge)
    if authority is None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=authority)
    if identity is not None:
        load_identity(context, *identity)
    return context


def pinned_context(spki: str, identity: tuple[bytes, bytes] | None = None) -> JudgedContext:
    """For a client that knows the server by its key alone: neither name, chain nor date matters."""

    def judge(der: bytes | None) -> None:
        if der is None or spki_of(der) != spki:
            raise ssl.SSLCertVerificationError("the server's key is not the pinned one")

    context = JudgedContext(ssl.PROTOCOL_TLS_CLIENT, judge)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the judge does it; TLS itself proves that the server has the key
    if identity is not None:
        load_identity(context, *identity)
    return context


def unverified_context() -> JudgedContext:
    """For a client to whom nobody has said yet whom to believe: whatever it hears must prove itself otherwise."""
    context = JudgedContext(ssl.PROTOCOL_TLS_CLIENT, _anybody)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def load_identity(context: ssl.SSLContext, key_pem: bytes, chain_pem: bytes) -> None:
    """Give a context a key and its chain; handshakes that begin later use them, also where it is in use already.

    The ssl module reads files only: this one is in memory and has no name.
    """
    with os.fdopen(os.memfd_create("identity"), "wb", buffering=0) as file:
        file.write(key_pem + b"\n" + chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


def dates_judge(time: TrustedClock) -> Judge:
    """Refuses a certificate that has certainly ended, or certainly not begun; the rest is nobody's knowledge."""

    def judge(der: bytes | None) -> None:
        if der is None:
            raise ssl.SSLCertVerificationError("the peer showed no certificate")
        certificate = x509.load_der_x509_certificate(der)
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        earliest, latest = time.span()
        if ends < earliest:
            raise ssl.SSLCertVerificationError(f"the peer's certificate ended at {rfc3339(ends)}")
        if latest is not None and begins > latest:
            raise ssl.SSLCertVerificationError(f"the peer's certificate begins only at {rfc3339(begins)}")

    return judge


def shown_by(transport: asyncio.BaseTransport | None) -> str | None:
    """SHA-256 (hex) of the certificate that the peer of a connection showed; None: none, or not over TLS."""
    connection = None if transport is None else transport.get_extra_info("ssl_object")
    der = None if connection is None else connection.getpeercert(True)
    return None if der is None else hashlib.sha256(der).hexdigest()


def spki_of(der: bytes) -> str:
    """The hash by which the key of this certificate is pinned: `spki_fingerprint`."""
    return spki_fingerprint(x509.load_der_x509_certificate(der).public_key())


def _anybody(_der: bytes | None) -> None:
    """The judge of a server: who comes is asked for more later."""
