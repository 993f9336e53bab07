"""What can go wrong for a till, beside what box and cloud answer.

StoreboxError
├── NoAnswer         no trustworthy answer from a peer: try again, the same id makes it safe
├── Refused          a peer answered with problem+json
├── NotOurBox        something answers in the name of our box, and cannot prove it
└── UnknownArticle   no price: neither in the basket nor in the catalogue
"""

from http import HTTPStatus
from typing import Any

from appliance.domain.errors import Altered, BadInput, NotFound, StoreboxError
from appliance.domain.link import Cause

# Refusals of who asks or when, not of what is asked; or of a request line or a header, which we write the same each
# time, so that a bit of it was changed on the way: asking again may help.
_WORTH_ASKING_AGAIN = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
}

# A body, a path, or a head that was changed on its way, so far that it is none of HTTP. (An unknown operation is
# `not-found` too, and as little done; of what a sale says itself, `invalid-sale` and `malformed` tell.)
_GARBLED = {Altered.code, BadInput.code, NotFound.code}

# Answers of somebody who lost track half-way. (503 says: not now, and nothing was done.)
_MAY_HAVE_DONE_IT = {
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class NoAnswer(StoreboxError):
    """No trustworthy answer. `in_doubt`: the peer may have done what it was asked all the same."""

    code, title = "no-answer", "No answer came"

    def __init__(self, detail: str, *, cause: Cause, in_doubt: bool) -> None:
        super().__init__(detail)
        self.cause = cause
        self.in_doubt = in_doubt


class Refused(StoreboxError):
    """The peer answered with problem+json: its status, its code, and all its members."""

    title = "The request was refused"

    def __init__(self, status: int, problem_code: str, members: dict[str, Any]) -> None:
        super().__init__(str(members.get("detail") or problem_code))
        self.status = status
        self.problem_code = problem_code
        self.members = members

    @property
    def final(self) -> bool:
        """Whether asking again with the same content is useless."""
        client_error = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        garbled = self.problem_code in _GARBLED
        return client_error and self.status not in _WORTH_ASKING_AGAIN and not garbled

    @property
    def in_doubt(self) -> bool:
        """Whether the peer may have done what it was asked all the same."""
        return self.status in _MAY_HAVE_DONE_IT

    @property
    def online_only(self) -> bool:
        """Whether the gate refused: not while the box is not online (design promise 8)."""
        return self.problem_code == "online-only"


class NotOurBox(StoreboxError):
    """Something answers in the name of our box, and cannot prove it."""

    code, title = "not-our-box", "This is not the box that the till knows"


class UnknownArticle(StoreboxError):
    """No price: neither in the basket nor in the catalogue."""

    code, title = "unknown-article", "The catalogue holds no such article"
