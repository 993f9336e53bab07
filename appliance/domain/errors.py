"""Every error that storebox promises to callers: a stable code, a title, and what to know about it.

The tree, caught by branch:
    StoreboxError
    ├── BadInput            the bytes cannot be read as what they claim to be
    │   ├── Malformed       not JSON, or not JSON of our kind
    │   ├── InvalidSale     JSON of the right form whose values break a rule of reading
    │   ├── TooLarge
    │   ├── TooSlow         the body did not come in time
    │   ├── Altered         the body is not the one that was sent
    │   └── UnsupportedMedia
    ├── NotAllowed          who asks may not
    │   ├── Unauthenticated
    │   ├── WrongTill
    │   ├── ClaimRefused    the right to enrol is not known, over, used or another box's
    │   ├── BoxRevoked
    │   ├── CertificateExpired  renew it, then ask again
    │   ├── PairingClosed   nobody has opened the window
    │   ├── PairingRefused  a wrong or spent secret
    │   └── BrowserRefused  a page of some site asks: no browser talks to a box
    ├── TooMany             more requests than one caller may make
    ├── NotFound
    ├── SalePruned          the sale was accepted and is in the cloud; its content has left this box
    ├── SnapshotRequired    the asked version is older than the changes kept
    ├── SaleConflict        the sale id is known, with other content
    ├── OnlineOnly          refused while the box is not online (design promise 8)
    ├── OutcomeUnknown      the cloud was asked and did not answer in time: ask again with the same id
    ├── OperationRejected   the cloud answered, and said no
    ├── CannotAccept        nothing can be accepted right now; the till must not hand out a ticket
    │   ├── Busy            the queue to the disk is full
    │   ├── NotReady        starting or stopping
    │   │   └── ClaimPending  an unclaimed box is trying another claim
    │   ├── StorageFault    the disk failed: nothing more is acknowledged
    │   └── DiskFull
    ├── ChainFault          events that do not follow one another
    │   ├── Fork            the same place in the chain, with other content
    │   ├── Gap             events are missing before these
    │   └── BadEvent        bytes that are no event, or no event of this chain
    ├── BadSignature        a signature is wrong, or by a key that is not trusted
    ├── ConfigError         a configuration key is unknown, missing or bad
    ├── SchemaTooNew        the database was written by a newer release
    └── CloudError          the cloud did not do what it was asked (raised by gateways)
        ├── CloudUnreachable  no trustworthy answer: try again later
        └── CloudRefused      an answer that says no: trying again the same way is useless

Codes are part of the API. HTTP statuses are not known here: `runtime/problem.py` gives them.
"""

from typing import Any, ClassVar


class StoreboxError(Exception):
    """An expected failure. `str(error)` is for a person; `code` and `fields` are for a program."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str = "", **fields: Any) -> None:
        super().__init__(detail or self.title)
        self.fields = fields


class BadInput(StoreboxError):
    """The bytes cannot be read as what they claim to be."""

    code, title = "bad-input", "The request cannot be read"


class Malformed(BadInput):
    """Not JSON, or not JSON of our kind."""

    code, title = "malformed", "The body is not the JSON that was expected"


class InvalidSale(BadInput):
    """JSON of the right form whose values break a rule of reading."""

    code, title = "invalid-sale", "The sale cannot be read"


class TooLarge(BadInput):
    """More bytes than the limit."""

    code, title = "too-large", "The body is larger than the limit"


class TooSlow(BadInput):
    """The body did not come in time."""

    code, title = "too-slow", "The body did not come in time"


class Altered(BadInput):
    """The body is not the one that its Content-Digest names: something on the way changed it."""

    code, title = "altered", "The body was changed on its way; send it again"


class UnsupportedMedia(BadInput):
    """A media type or encoding that is not taken."""

    code, title = "unsupported-media-type", "This media type is not accepted here"


class NotAllowed(StoreboxError):
    """Who asks may not."""

    code, title = "not-allowed", "Not allowed"


class Unauthenticated(NotAllowed):
    """No token, or one that is not known."""

    code, title = "unauthenticated", "A valid token is needed"


class WrongTill(NotAllowed):
    """A till speaks in the name of another."""

    code, title = "wrong-till", "The sale names another till than the token does"


class ClaimRefused(NotAllowed):
    """A claim that is not known, has expired, was used by another key, or is bound to another key."""

    code, title = "claim-refused", "The claim cannot be used by this box"


class BoxRevoked(NotAllowed):
    """This box is believed no more."""

    code, title = "box-revoked", "This box was revoked"


class CertificateExpired(NotAllowed):
    """The certificate has ended; the key is still good for a new one."""

    code, title = "certificate-expired", "The box's certificate has ended; renew it"


class PairingClosed(NotAllowed):
    """No pairing window is open."""

    code, title = "pairing-closed", "Nobody has opened pairing on this box"


class PairingRefused(NotAllowed):
    """A secret that is wrong or spent; `fields['tries_left']` says how often one may still try."""

    code, title = "pairing-refused", "The pairing code is wrong or was used; scan the one shown now"


class BrowserRefused(NotAllowed):
    """A request with an Origin: some page in a browser asks, and none may."""

    code, title = "browser-refused", "A box does not talk to browsers"


class TooMany(StoreboxError):
    """More requests than one caller may make; `fields['retry_after_s']` says when to come back."""

    code, title = "too-many", "Too many requests; come back in a moment"


class NotFound(StoreboxError):
    """Nothing under that name."""

    code, title = "not-found", "Nothing under that name"


class SalePruned(StoreboxError):
    """The sale was accepted here and is in the cloud; its retention is over and its content has left this box."""

    code, title = "sale-pruned", "This sale is in the head office; its content is no longer kept on this box"


class SnapshotRequired(StoreboxError):
    """The asked version is older than the changes kept, or newer than any: take a snapshot."""

    code, title = "snapshot-required", "Changes since that version cannot be given; take a snapshot"


class SaleConflict(StoreboxError):
    """The sale id is known, with other content. Both stay visible."""

    code, title = "sale-conflict", "This sale id was already used for another sale"


class OnlineOnly(StoreboxError):
    """Refused because the box is not online. Nothing was queued."""

    code, title = "online-only", "This operation needs the head office, and the line is down"


class OutcomeUnknown(StoreboxError):
    """The cloud was asked and did not answer in time. Asking again with the same id is safe."""

    code, title = "outcome-unknown", "The head office did not answer in time; ask again with the same id"


class OperationRejected(StoreboxError):
    """The cloud answered, and said no."""

    code, title = "operation-rejected", "The head office did not accept this operation"


class CannotAccept(StoreboxError):
    """Nothing can be accepted right now; the till must not hand out a ticket."""

    code, title = "cannot-accept", "The box cannot accept sales right now"


class Busy(CannotAccept):
    """The queue to the disk is full."""

    code, title = "busy", "Too many sales are waiting for the disk; try again in a moment"


class NotReady(CannotAccept):
    """Starting or stopping."""

    code, title = "not-ready", "The box is starting or stopping"


class ClaimPending(NotReady):
    """An unclaimed box tries another claim right now."""

    code, title = "claim-pending", "The box is trying another claim"


class StorageFault(CannotAccept):
    """The disk failed. Nothing more is acknowledged by this process."""

    code, title = "storage-fault", "The box's storage failed; it sells nothing until it has been checked"


class DiskFull(CannotAccept):
    """No room left for another sale."""

    code, title = "disk-full", "The box's storage is full"


class ChainFault(StoreboxError):
    """Events that do not follow one another."""

    code, title = "chain-fault", "The chain of events is broken"


class Fork(ChainFault):
    """The same place in the chain, with other content."""

    code, title = "fork", "This place in the chain already holds another event"


class Gap(ChainFault):
    """Events are missing before these."""

    code, title = "gap", "Events are missing before these"


class BadEvent(ChainFault):
    """Bytes that are no event, or no event of this chain."""

    code, title = "bad-event", "These bytes are no event of this chain"


class BadSignature(StoreboxError):
    """A signature is wrong, or by a key that is not trusted."""

    code, title = "bad-signature", "The signature does not hold"


class ConfigError(StoreboxError):
    """A configuration key is unknown, missing or bad."""

    code, title = "config-error", "The configuration cannot be used"


class SchemaTooNew(StoreboxError):
    """The database was written by a newer release than this code."""

    code, title = "schema-too-new", "The database belongs to a newer release"


class CloudError(StoreboxError):
    """The cloud did not do what it was asked."""

    code, title = "cloud-error", "The head office did not do what it was asked"


class CloudUnreachable(CloudError):
    """No trustworthy answer came; try again later. `fields['cause']` names why, `retry_after_s` when."""

    code, title = "cloud-unreachable", "The head office cannot be reached"


class CloudRefused(CloudError):
    """The cloud answered no: `fields['status']` and `fields['problem']` (its code) say how."""

    code, title = "cloud-refused", "The head office refused"
