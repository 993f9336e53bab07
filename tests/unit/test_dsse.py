"""Envelopes: what is opened is exactly what a trusted key signed, for exactly this purpose."""

import base64
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.dsse import ENVELOPE_BYTES_MAX, Signer, open_envelope, pae, spki_fingerprint
from appliance.domain.errors import BadSignature

KIND = "application/vnd.storebox.test.v1+json"
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
KEYS = {SIGNER.key_id: SIGNER.public_key}


def altered(envelope: bytes, **changes: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(envelope) | changes)


def test_pae_is_the_example_of_the_dsse_protocol() -> None:
    # secure-systems-lab/dsse, protocol.md.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_not_letters() -> None:
    assert pae("é", "€".encode()) == "DSSEv1 2 é 3 €".encode()


@given(st.tuples(st.text(), st.binary()), st.tuples(st.text(), st.binary()))
def test_no_two_messages_are_signed_as_the_same_bytes(a: tuple[str, bytes], b: tuple[str, bytes]) -> None:
    assert (pae(*a) == pae(*b)) == (a == b)


# RFC 8032 section 7.1, tests 1 to 3: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_the_signer_holds_the_keys_of_rfc_8032(
    secret: str, public: str, message: str, signature: str
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    signer = Signer(key)

    assert signer.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    signer.public_key.verify(bytes.fromhex(signature), bytes.fromhex(message))


def test_an_envelope_is_signed_over_the_pae_and_by_nothing_else() -> None:
    envelope = msgspec.json.decode(SIGNER.envelope(KIND, b"{}"))

    (signature,) = envelope.pop("signatures")
    assert envelope == {"payload": base64.b64encode(b"{}").decode(), "payloadType": KIND}
    assert signature["keyid"] == SIGNER.key_id
    SIGNER.public_key.verify(base64.b64decode(signature["sig"]), b"DSSEv1 37 %b 2 {}" % KIND.encode())


def test_a_fingerprint_is_base64url_of_a_sha256_without_padding() -> None:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032[0][0])))

    # openssl pkey -pubout -outform DER | openssl dgst -sha256 -binary | basenc --base64url
    assert (
        signer.key_id == spki_fingerprint(signer.public_key) == "BuP9j9opu2CrWVV95h7bCuzbIxE0vjDnW0Vfjht5L6k"
    )


@given(st.binary(max_size=400))
def test_the_payload_comes_back_verbatim_from_one_line(payload: bytes) -> None:
    envelope = SIGNER.envelope(KIND, payload)

    assert open_envelope(envelope, KIND, KEYS) == payload
    assert b"\n" not in envelope


def test_no_altered_bit_changes_what_is_opened() -> None:
    envelope = SIGNER.envelope(KIND, b'{"seq":1}')
    refused = 0
    for bit in range(len(envelope) * 8):
        changed = bytearray(envelope)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            # A bit that base64 does not use may differ; then the payload must still be the signed one.
            assert open_envelope(bytes(changed), KIND, KEYS) == b'{"seq":1}'
        except BadSignature:
            refused += 1

    assert refused >= len(envelope) * 8 - 16


def test_an_envelope_of_one_purpose_does_not_serve_another() -> None:
    envelope = SIGNER.envelope(KIND, b"{}")

    with pytest.raises(BadSignature, match="holds"):
        open_envelope(envelope, KIND.replace("test", "receipt"), KEYS)
    relabelled = altered(envelope, payloadType=KIND.replace("test", "receipt"))
    with pytest.raises(BadSignature, match="does not hold"):
        open_envelope(relabelled, KIND.replace("test", "receipt"), KEYS)


def test_only_trusted_keys_open() -> None:
    with pytest.raises(BadSignature, match="no trusted key") as refused:
        open_envelope(STRANGER.envelope(KIND, b"{}"), KIND, KEYS)
    assert refused.value.fields == {"key_id": STRANGER.key_id}

    with pytest.raises(BadSignature):
        open_envelope(SIGNER.envelope(KIND, b"{}"), KIND, {})


def test_a_strangers_signature_under_a_trusted_name_is_refused() -> None:
    (signature,) = msgspec.json.decode(STRANGER.envelope(KIND, b"{}"))["signatures"]
    forged = altered(SIGNER.envelope(KIND, b"{}"), signatures=[signature | {"keyid": SIGNER.key_id}])

    with pytest.raises(BadSignature, match="does not hold"):
        open_envelope(forged, KIND, KEYS)


@pytest.mark.parametrize("order", [1, -1])
def test_two_signatures_are_refused_even_when_one_holds(order: int) -> None:
    both = [msgspec.json.decode(s.envelope(KIND, b"{}"))["signatures"][0] for s in (SIGNER, STRANGER)]

    with pytest.raises(BadSignature):
        open_envelope(altered(SIGNER.envelope(KIND, b"{}"), signatures=both[::order]), KIND, KEYS)
    with pytest.raises(BadSignature):
        open_envelope(altered(SIGNER.envelope(KIND, b"{}"), signatures=[]), KIND, KEYS)


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"null",
        b"{}",
        b"[" * 60_000,
        b'{"unknown":' + b"[" * 60_000,
        '{"payload":"é","payloadType":"x","signatures":[{"keyid":"","sig":""}]}'.encode(),
        b'{"payload":"\xff","payloadType":"x","signatures":[]}',
        b'{"payload":"{}","payloadType":"x","signatures":[{"keyid":"","sig":""}]}',
        b'{"payload":"e30=","payloadType":"x","signatures":[{"keyid":"","sig":"?"}]}',
        b'{"payload":"e30","payloadType":"x","signatures":[{"keyid":"","sig":""}]}',
    ],
    ids=lambda envelope: repr(envelope[:30]),
)
def test_what_is_no_envelope_is_a_bad_signature_and_nothing_worse(envelope: bytes) -> None:
    with pytest.raises(BadSignature):
        open_envelope(envelope, "x", KEYS)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_calmly(noise: bytes) -> None:
    with pytest.raises(BadSignature):
        open_envelope(noise, KIND, KEYS)


def test_an_envelope_over_the_limit_is_not_even_parsed() -> None:
    envelope = SIGNER.envelope(KIND, b"x" * 1_000)
    padded = envelope + b" " * (ENVELOPE_BYTES_MAX - len(envelope))

    assert open_envelope(padded, KIND, KEYS) == b"x" * 1_000
    with pytest.raises(BadSignature, match="too large"):
        open_envelope(padded + b" ", KIND, KEYS)


def test_members_that_the_format_may_gain_are_ignored() -> None:
    # DSSE's envelope.md: consumers must ignore what they do not know.
    assert open_envelope(altered(SIGNER.envelope(KIND, b"{}"), later=1), KIND, KEYS) == b"{}"
