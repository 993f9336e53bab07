"""How a box becomes one of a chain: claim, enrolment, renewal, and what head office tells of boxes.

A claim is one text that carries all: where head office is, how to know it, and the right to enter once.
"""

import base64
import binascii
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.domain.dsse import Envelope
from appliance.domain.errors import Malformed
from appliance.domain.keychain import Rotation
from appliance.domain.pairing import Pem, TillRecord
from appliance.domain.sale import Identifier, Text
from appliance.domain.wire import Nonce

CLAIM_PREFIX = "sbc1."
CLAIM_CHARACTERS_MAX = 1_024
CLAIM_MINUTES_MAX = 10

Pin = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{43})?$(?!\n)", description="SPKI hash, or empty")]
ClaimText = Annotated[str, Meta(min_length=1, max_length=CLAIM_CHARACTERS_MAX)]


class Claim(msgspec.Struct, frozen=True, rename={"url": "u", "pin": "c", "secret": "s", "shop": "h"}):
    """The right to let one box into a shop, once: `pin` is of the chain's root; empty: the system's trust store."""

    url: Annotated[str, Meta(pattern=r"^https?://[!-~]{1,500}$(?!\n)")]
    pin: Pin
    secret: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22,128}$(?!\n)")]
    shop: Identifier


class EnrolRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed with the new box's own key, as proof that it has it. `claim` is the claim's secret.

    `csr` (the box's TLS key) and `lan_csr` (its LAN authority) are PKCS#10 in PEM; empty only without TLS.
    """

    claim: ClaimText
    public_key: str
    nonce: Nonce
    csr: Pem = ""
    lan_csr: Pem = ""


class EnrolAnswer(msgspec.Struct, frozen=True):
    """Everything a box needs to speak to this cloud; `cloud_keys` are PEM, `policy` a DSSE envelope.

    `box_token` is empty where certificates are used: `certificate` (leaf and issuing, PEM), `lan_certificate` (the
    box's intermediate and issuing), `authority` (the root). `time` is a ProbeAnswer with the request's nonce. A box
    that takes another's place gets its `tills` and the `succession`.
    """

    box: str
    shop: str
    shop_name: str
    box_token: str
    cloud_keys: list[str]
    policy: msgspec.Raw
    certificate: str = ""
    lan_certificate: str = ""
    authority: str = ""
    time: Envelope | None = None
    tills: list[TillRecord] = []
    succession: Envelope | None = None


class RenewRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed with the enrolled key, which is all the proof that is asked: it holds after the certificate has ended.

    `rotations` are all of the box's: head office may not have heard of the last ones, and hears of no event meanwhile.
    """

    box: str
    nonce: Nonce
    csr: Pem
    lan_csr: Pem
    rotations: list[Rotation] = []


class RenewAnswer(msgspec.Struct, frozen=True):
    """The same keys, certified anew; as in EnrolAnswer."""

    certificate: str
    lan_certificate: str
    authority: str
    time: Envelope


class ClaimNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim handed to an unclaimed box on its LAN."""

    claim: ClaimText


class ClaimState(msgspec.Struct, frozen=True):
    """How far an unclaimed box is with its claim."""

    state: Literal["none", "trying", "refused", "enrolled"]
    detail: str = ""


class ClaimOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask head office for a claim; bound to one box by the hash of its key, if given. `replaces` names a dead box."""

    shop: Identifier
    name: Text = ""
    minutes: Annotated[int, Meta(ge=1, le=CLAIM_MINUTES_MAX)] = CLAIM_MINUTES_MAX
    key_hash: Pin = ""
    replaces: Annotated[str, Meta(max_length=64)] = ""


class ClaimAnswer(msgspec.Struct, frozen=True):
    """A claim, whole; head office keeps only the hash of its secret."""

    claim: str
    shop: str
    expires_at: str


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a box is believed no more."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class Place(msgspec.Struct, frozen=True):
    """Where a box said last that it is, for its tills; and who took its place, if somebody did."""

    box: str
    addresses: list[str]
    port: int
    spki: str
    heard_s: float
    succession: Envelope | None = None


class BoxView(msgspec.Struct, frozen=True):
    """A box as head office knows it; `backlog` is what it said last that it still owed."""

    box: str
    shop: str
    fp: str
    spki: str
    enrolled_at: str
    revoked_at: str | None
    certificate_until: str | None
    heard_at: str | None
    addresses: list[str]
    state: str
    backlog: int | None = None


class AuditRow(msgspec.Struct, frozen=True):
    """Something that somebody did to who may come in. Never holds a secret."""

    number: int
    at: str
    who: str
    action: str
    subject: str
    data: dict[str, Any]


def claim_text(url: str, pin: str, secret: str, shop: str) -> str:
    """A claim as the one text that is handed on."""
    data = msgspec.json.encode(Claim(url, pin, secret, shop))
    return CLAIM_PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_claim(text: str) -> Claim:
    """The claim in a text. Raises Malformed for anything else; the text is never repeated."""
    text = text.strip()
    if not text.startswith(CLAIM_PREFIX) or len(text) > CLAIM_CHARACTERS_MAX:
        raise Malformed("this is no claim: it begins with " + CLAIM_PREFIX)
    data = text.removeprefix(CLAIM_PREFIX)
    try:
        return msgspec.json.decode(
            base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True), type=Claim
        )
    except (ValueError, binascii.Error) as error:
        raise Malformed("this claim is damaged; take it over again, whole") from error
