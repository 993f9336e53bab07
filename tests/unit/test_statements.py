"""What box and cloud sign for each other."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain import statements
from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.errors import BadSignature
from appliance.domain.event import Position
from appliance.domain.statements import Anchor, Head, ProbeAnswer, Receipt, sign, verify

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
KEYS = {SIGNER.key_id: SIGNER.public_key}
HASH = "ab" * 32
HEAD = Head("sb-1", 2, 7, HASH)
RECEIPT = Receipt("sb-1", 2, 7, HASH, "2026-11-22T08:30:00.000Z", "0" * 32)


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (statements.HEAD_TYPE, HEAD),
        (statements.RECEIPT_TYPE, RECEIPT),
        (statements.PROBE_TYPE, ProbeAnswer("sb-1", "0" * 32, "2026-11-22T08:30:00.000Z")),
    ],
)
def test_what_was_signed_is_what_is_verified(kind: str, statement: object) -> None:
    assert verify(sign(SIGNER, kind, statement), kind, type(statement), KEYS) == statement


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (statements.HEAD_TYPE, HEAD),
        (statements.RECEIPT_TYPE, RECEIPT),
        (statements.ANCHOR_TYPE, Anchor("sb-1", 2, 7, HASH, "2026-11-22T08:30:00.000Z")),
        (statements.PROBE_TYPE, ProbeAnswer("sb-1", "0" * 32, "2026-11-22T08:30:00.000Z")),
    ],
)
def test_what_a_later_release_signs_beside_is_passed_over(kind: str, statement: object) -> None:
    signed = sign(SIGNER, kind, msgspec.to_builtins(statement) | {"later": {"mood": 1}})

    assert verify(signed, kind, type(statement), KEYS) == statement


def test_every_statement_has_a_type_of_its_own() -> None:
    types = [value for name, value in vars(statements).items() if name.endswith("_TYPE")]

    assert len(set(types)) == len(types) == 12


def test_a_receipt_is_no_head() -> None:
    with pytest.raises(BadSignature):
        verify(sign(SIGNER, statements.RECEIPT_TYPE, RECEIPT), statements.HEAD_TYPE, Head, KEYS)


def test_heads_and_receipts_name_a_place_in_the_chain() -> None:
    assert HEAD.position == RECEIPT.position == Position(2, 7, bytes.fromhex(HASH))


@pytest.mark.parametrize("head", ["", "ab", HASH + "00", "zz" * 32, HASH[:-1]])
def test_a_signed_head_that_is_no_sha256_is_refused(head: str) -> None:
    for kind, statement in (
        (statements.HEAD_TYPE, Head("sb-1", 1, 1, head)),
        (statements.RECEIPT_TYPE, Receipt("sb-1", 1, 1, head, "", "")),
    ):
        with pytest.raises(BadSignature, match="no SHA-256"):
            verify(sign(SIGNER, kind, statement), kind, type(statement), KEYS)


FIELDS: dict[str, Any] = {"box": "sb-1", "epoch": 2, "seq": 7, "head": HASH}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"[" * 40_000,
        b'{"box":"\xff"}',
        canonical({key: FIELDS[key] for key in ("box", "epoch", "seq")}),
        canonical(FIELDS | {"seq": "7"}),
    ],
    ids=lambda payload: repr(payload[:30]),
)
def test_signed_bytes_of_another_form_are_refused_though_the_signature_holds(payload: bytes) -> None:
    with pytest.raises(BadSignature, match="no Head"):
        verify(SIGNER.envelope(statements.HEAD_TYPE, payload), statements.HEAD_TYPE, Head, KEYS)
