"""Keys that follow one another: both keys sign, step by step, and nothing else leads on."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import BadSignature
from appliance.domain.keychain import Rotation, keys_after, rotate

AT = "2026-11-22T08:30:00.000Z"
A, B, C, THIEF = (Signer(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3, 9))
A_TO_B, B_TO_C = rotate("sb-1", 1, A, B, AT), rotate("sb-1", 2, B, C, AT)


def test_without_rotations_the_first_key_is_the_one() -> None:
    chain = keys_after("sb-1", [], A.public_key)

    assert chain == (A.public_key, {A.key_id: A.public_key}, frozenset())


def test_rotations_lead_from_the_first_key_to_the_last() -> None:
    chain = keys_after("sb-1", [A_TO_B, B_TO_C], A.public_key)

    assert chain.current == C.public_key
    assert set(chain.keys) == {A.key_id, B.key_id, C.key_id}
    assert chain.retired == {A.key_id, B.key_id}


def test_who_believes_a_later_key_follows_from_there() -> None:
    assert keys_after("sb-1", [A_TO_B, B_TO_C], B.public_key).retired == {B.key_id}
    assert keys_after("sb-1", [A_TO_B, B_TO_C], C.public_key).current == C.public_key


def test_a_rotation_survives_its_way_over_the_wire() -> None:
    sent = msgspec.json.encode([A_TO_B, B_TO_C])

    assert keys_after("sb-1", msgspec.json.decode(sent, type=list[Rotation]), A.public_key).current == (
        C.public_key
    )


@pytest.mark.parametrize(
    ("rotations", "first"),
    [
        ([B_TO_C], A),
        ([A_TO_B, B_TO_C], THIEF),
        ([A_TO_B, A_TO_B], A),
        ([A_TO_B, rotate("sb-1", 3, B, C, AT)], A),
        ([A_TO_B, rotate("sb-1", 2, B, A, AT)], A),
        ([rotate("sb-2", 1, A, B, AT)], A),
        ([Rotation(A_TO_B.by_old, rotate("sb-1", 1, A, B, "2026-11-23T00:00:00.000Z").by_new)], A),
        ([Rotation(A_TO_B.by_old, rotate("sb-1", 1, A, THIEF, AT).by_new)], A),
        ([Rotation(rotate("sb-1", 1, THIEF, B, AT).by_old, A_TO_B.by_new)], A),
    ],
    ids=[
        "a missing one",
        "another first key",
        "twice the same",
        "a number left out",
        "back to a retired key",
        "of another box",
        "two different statements",
        "another new key",
        "not signed by the old key",
    ],
)
def test_anything_else_leads_nowhere(rotations: list[Rotation], first: Signer) -> None:
    with pytest.raises(BadSignature):
        keys_after("sb-1", rotations, first.public_key)
