"""The text of the pairing code: read as it was written, or refused with a sentence."""

import msgspec
import pytest

from appliance.domain.errors import BadInput
from appliance.domain.pairing import Invitation, PairRequest, payload, read_payload

INVITATION = Invitation(
    box="sb-aaaabbbbccccdddd",
    spki="p" * 43,
    fp="f" * 43,
    secret="s" * 22,
    addresses=["192.168.1.20:8480", "[fe80::1%eth0]:8480", "sb-aaaabbbbccccdddd.local:8480"],
    shop="Café de l’Église & Co",
)


def test_what_was_written_is_read() -> None:
    assert read_payload(payload(INVITATION)) == INVITATION
    assert read_payload("  " + payload(INVITATION) + "\n") == INVITATION


def test_an_invitation_without_addresses_is_one_for_who_finds_the_box_by_mdns() -> None:
    bare = msgspec.structs.replace(INVITATION, addresses=[], shop="")

    assert read_payload(payload(bare)) == bare


def test_the_code_of_a_usual_box_stays_small() -> None:
    usual = msgspec.structs.replace(INVITATION, addresses=["192.168.100.200:8480"], shop="Nantes Centre")

    assert len(payload(usual)) <= 250


def test_a_field_of_tomorrow_is_passed_over() -> None:
    assert read_payload(payload(INVITATION) + "&z=1") == INVITATION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.org/",
        payload(INVITATION).replace("v=1", "v=2"),
        payload(INVITATION).replace("v=1&", ""),
        payload(INVITATION).replace("&b=", "&bb="),
        payload(INVITATION).replace("s" * 22, "s" * 21),
        payload(INVITATION).replace("p" * 43, "p" * 42 + "!"),
        payload(INVITATION) + "&s=" + "t" * 22,
        payload(INVITATION) + "&a=nowhere",
        payload(INVITATION) + "&a=10.0.0.1:8480" * 6,
        payload(INVITATION) + "&%%%",
        payload(INVITATION) + "x" * 1_024,
        "storebox:pair?" + "a" * 100,
        "storebox:pair?\udcff=1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_payload(text)


@pytest.mark.parametrize(
    "body",
    [
        {"csr": "c"},
        {"csr": "c", "till": "T1", "later": 1},
        {"csr": "c" * 4_097, "till": "T1"},
        {"csr": "c", "till": " T1"},
        {"csr": "c", "till": "T1", "secret": "s" * 65},
    ],
)
def test_a_request_to_pair_is_read_strictly(body: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, PairRequest)
