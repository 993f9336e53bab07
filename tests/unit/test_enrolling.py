"""A claim is one text that carries all: read as it was made, or refused without repeating it."""

import base64

import msgspec
import pytest

from appliance.domain.enrolling import Claim, ClaimOrder, EnrolRequest, claim_text, read_claim
from appliance.domain.errors import Malformed

URL, PIN, SECRET = "https://head.example:8490", "c" * 43, "0123456789abcdef" * 2


@pytest.mark.parametrize("pin", [PIN, ""])
def test_what_was_made_is_read(pin: str) -> None:
    text = claim_text(URL, pin, SECRET, "S042")

    assert text.startswith("sbc1.")
    assert read_claim(f" {text}\n") == Claim(URL, pin, SECRET, "S042")


def test_a_claim_names_its_parts_shortly() -> None:
    data = claim_text(URL, PIN, SECRET, "S042").removeprefix("sbc1.")

    assert msgspec.json.decode(base64.urlsafe_b64decode(data + "==")) == {
        "u": URL,
        "c": PIN,
        "s": SECRET,
        "h": "S042",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        "sbc1.",
        "sbc2" + claim_text(URL, PIN, SECRET, "S042").removeprefix("sbc1"),
        claim_text(URL, PIN, SECRET, "S042")[:-3],
        claim_text(URL, PIN, SECRET, "S042") + "é",
        claim_text(URL, PIN, SECRET, "S042") + "A" * 1_024,
        claim_text("ftp://head.example", PIN, SECRET, "S042"),
        claim_text(URL, "short", SECRET, "S042"),
        claim_text(URL, PIN, "guess", "S042"),
        claim_text(URL, PIN, SECRET, ""),
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_claim(text)

    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None or text[5:] not in str(refused.value) or not text[5:]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (EnrolRequest, {"claim": "t", "public_key": "k"}),
        (EnrolRequest, {"claim": "t", "public_key": "k", "nonce": "0" * 32, "csr": "c" * 4_097}),
        (EnrolRequest, {"claim": "t", "public_key": "k", "nonce": "0" * 32, "later": 1}),
        (ClaimOrder, {"shop": "S042", "minutes": 11}),
        (ClaimOrder, {"shop": "S042", "minutes": 0}),
        (ClaimOrder, {"shop": "S042", "key_hash": "short"}),
        (ClaimOrder, {"shop": ""}),
    ],
)
def test_a_request_with_a_missing_unknown_or_bad_field_is_refused(
    kind: type, body: dict[str, object]
) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, kind)
