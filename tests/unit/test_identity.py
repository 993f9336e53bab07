"""A box is named after its key."""

import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.domain.identity import box_id


def key(number: int) -> Ed25519PublicKey:
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32)).public_key()


def test_the_name_of_a_key_never_changes() -> None:
    # Boxes in shops bear names made by this rule: it cannot be changed, only replaced.
    assert box_id(key(1)) == box_id(key(1)) == "sb-cmakwv4dqsbbl36v"


def test_two_keys_have_two_names_and_each_is_a_dns_label() -> None:
    names = {box_id(key(number)) for number in range(200)}

    assert len(names) == 200
    assert all(re.fullmatch(r"sb-[a-z2-7]{16}", name) for name in names)
