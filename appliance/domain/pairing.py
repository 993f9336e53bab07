"""How a till and a box come to know each other: what is asked and answered, and the text of the QR code."""

from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta

from appliance.domain.errors import BadInput
from appliance.domain.sale import Identifier, Text
from appliance.domain.wire import Hello

CSR_CHARACTERS_MAX = 4_096
WINDOW_MINUTES_MAX = 60
TILLS_MAX = 256
# A QR code of this many characters is still read off a screen at arm's length.
PAYLOAD_CHARACTERS_MAX = 1_024
ADDRESSES_MAX = 8
# Who let a till in: `TillRow.by`; behind HEAD_OFFICE stands the order.
CONSOLE_OPENED, HEAD_OFFICE, SUCCESSION = "technician", "head-office", "succession"
_PREFIX = "storebox:pair?"
_ADDRESS = r"^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9.-]{1,32})?\]):[0-9]{1,5}$(?!\n)"
_ONCE = {"v": "1", "b": "box", "p": "spki", "f": "fp", "s": "secret", "n": "shop"}

Pem = Annotated[str, Meta(max_length=CSR_CHARACTERS_MAX)]
Secret = Annotated[str, Meta(max_length=64)]
Spki = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)", description="SHA-256 of the key's SPKI, base64url")
]
Address = Annotated[str, Meta(pattern=_ADDRESS, description="host:port; an IPv6 address in brackets")]


class PairRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A till asks to be let in: PKCS#10 (PEM, P-256) over the key it will prove on each connection.

    Without `secret` only a key passes that the box inherited from the one before it.
    """

    csr: Pem
    till: Identifier
    secret: Secret = ""
    name: Text = ""


class PairAnswer(msgspec.Struct, frozen=True):
    """Everything a till needs to come back: its token, bound to its `certificate` (PEM, leaf and the till CA).

    `authority` (PEM, the chain's root, or empty), `cloud_url` and `cloud_keys` (PEM) are what a successor is judged by.
    """

    box: str
    till: str
    token: str
    certificate: str
    authority: str
    cloud_url: str
    cloud_keys: list[str]
    addresses: list[str]
    port: int
    hello: Hello


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a till found the box, and whether it sees it by multicast."""

    multicast: Literal["seen", "unseen"]
    found_by: Literal["last", "mdns", "list", "locator", "manual"]


class TillView(msgspec.Struct, frozen=True):
    """A paired till; `by` tells how it came in, `last_seen_s` how long ago it asked for anything."""

    till: str
    name: str
    paired_at: str
    by: str
    last_seen_s: float | None


class TillName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A till's new name."""

    name: Text


class TillRecord(msgspec.Struct, frozen=True):
    """What head office keeps of a paired till, so that a successor of the box knows it again."""

    till: Identifier
    name: Text
    spki: Spki


class TillRow(msgspec.Struct, frozen=True):
    """A till as the box keeps it; tokens and certificates only as SHA-256 (hex).

    Without `certificate_sha256` the token is bound to none; without `token_sha256` the till was inherited from another
    box and has not come yet. `used`: the token has been used, so its answer did arrive. `by`: who let it in.
    """

    till: str
    token_sha256: str = ""
    certificate_sha256: str | None = None
    spki: str = ""
    name: str = ""
    paired_at: str = ""
    by: str = ""
    used: bool = False


class PairingOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Open the window for so long."""

    minutes: Annotated[int, Meta(ge=1, le=WINDOW_MINUTES_MAX)] = 10


class PairingView(msgspec.Struct, frozen=True):
    """The open window: what the QR code holds, and how long and how often it can still be used."""

    payload: str
    expires_s: float
    tries_left: int


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the QR code says: which box (id, SPKI pin, event key), the secret, where it is, and its shop's name."""

    box: Annotated[str, Meta(min_length=1, max_length=64)]
    spki: Spki
    fp: Spki
    secret: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22,64}$(?!\n)")]
    addresses: Annotated[list[Address], Meta(max_length=ADDRESSES_MAX)]
    shop: Text = ""


def payload(invitation: Invitation) -> str:
    """The text of the QR code."""
    told = invitation
    pairs = [("v", "1"), ("b", told.box), ("p", told.spki), ("f", told.fp), ("s", told.secret)]
    pairs += [("a", address) for address in told.addresses]
    return _PREFIX + urlencode([*pairs, ("n", told.shop)], safe=":[]")


def read_payload(text: str) -> Invitation:
    """The invitation in the text of a QR code. Raises BadInput for anything else."""
    text = text.strip()
    if len(text) > PAYLOAD_CHARACTERS_MAX or not text.startswith(_PREFIX):
        raise BadInput("this is no pairing code of a storebox")
    try:
        pairs = parse_qsl(
            text.removeprefix(_PREFIX), keep_blank_values=True, strict_parsing=True, max_num_fields=32
        )
    except ValueError as error:
        raise BadInput(f"the pairing code cannot be read: {error}") from error
    once = [(key, value) for key, value in pairs if key in _ONCE]
    if len(dict(once)) < len(once):
        raise BadInput("the pairing code says something twice")
    if dict(once).get("v") != "1":
        raise BadInput("the pairing code is of a kind that is not known here")
    told = {_ONCE[key]: value for key, value in once if key != "v"}
    addresses = [value for key, value in pairs if key == "a"]
    try:
        return msgspec.convert({**told, "addresses": addresses}, Invitation)
    except msgspec.ValidationError as error:
        raise BadInput(f"the pairing code cannot be used: {error}") from error
