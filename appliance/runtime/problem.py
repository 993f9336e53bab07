"""Errors as `application/problem+json` (RFC 9457). The one place where codes of the domain meet HTTP statuses."""

import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from appliance.domain import errors

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# A till that could not hand in a sale tries again this soon, unless the error says when.
RETRY_AFTER_S = 2

# A branch covers its leaves.
STATUS: dict[type[errors.StoreboxError], HTTPStatus] = {
    errors.BadInput: HTTPStatus.BAD_REQUEST,
    errors.InvalidSale: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NotAllowed: HTTPStatus.FORBIDDEN,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.BadSignature: HTTPStatus.FORBIDDEN,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.SalePruned: HTTPStatus.GONE,
    errors.SnapshotRequired: HTTPStatus.GONE,
    errors.SaleConflict: HTTPStatus.CONFLICT,
    errors.ChainFault: HTTPStatus.CONFLICT,
    errors.BadEvent: HTTPStatus.BAD_REQUEST,
    errors.OnlineOnly: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.OutcomeUnknown: HTTPStatus.GATEWAY_TIMEOUT,
    errors.OperationRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.CannotAccept: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ClaimPending: HTTPStatus.CONFLICT,
    errors.DiskFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.CloudError: HTTPStatus.BAD_GATEWAY,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(msgspec.Struct, frozen=True):
    """The body of every error answer (RFC 9457); some codes add members of their own beside these."""

    type: str
    title: str
    status: int
    detail: str
    code: str


def status_of(error: errors.StoreboxError) -> HTTPStatus:
    """The HTTP status of an error, by the nearest class above it that has one."""
    return next((STATUS[c] for c in type(error).__mro__ if c in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(error: errors.StoreboxError) -> web.Response:
    """An error as an answer.

    A field `retry_after_s` also becomes the Retry-After header (RFC 9110); CannotAccept always has one.
    """
    headers = {}
    default_s = RETRY_AFTER_S if isinstance(error, errors.CannotAccept) else None
    if (retry_after_s := error.fields.get("retry_after_s", default_s)) is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(status_of(error), error.code, error.title, str(error), error.fields, headers)


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error of a handler into problem+json.

    Once an answer has begun, an error cuts the connection: nobody can take the part for the whole.
    """
    try:
        return await handler(request)
    except Exception as error:
        if request.writer.output_size:
            raise  # aiohttp logs it and closes
        if isinstance(error, ConnectionError) and request.transport is None:
            log.info("request.abandoned", extra={"method": request.method, "path": request.path})
            return web.Response()  # who asked has gone
        return answer_to(error, request.method, request.path)


def answer_to(error: Exception, method: str, path: str) -> web.Response:
    """Any error of a handler as an answer; bugs are logged and answered without their inside.

    Raises what is no error at all (a redirect).
    """
    match error:
        case errors.StoreboxError():
            return problem(error)
        case web.HTTPRequestEntityTooLarge():
            return problem(errors.TooLarge())
        case web.HTTPException():
            return _refusal(error)
        case _:
            log.error("request.failed", extra={"method": method, "path": path}, exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _answer(status, "internal", "A bug on our side", "It has been logged.", {}, {})


def _refusal(error: web.HTTPException) -> web.Response:
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    status = HTTPStatus(error.status)
    code = status.phrase.lower().replace(" ", "-")
    return _answer(status, code, status.phrase, status.description, {}, allow)


def _answer(
    status: HTTPStatus, code: str, title: str, detail: str, fields: dict[str, Any], headers: dict[str, str]
) -> web.Response:
    body = Problem(f"urn:storebox:problem:{code}", title, status.value, detail, code)
    merged = {**fields, **msgspec.to_builtins(body)}
    return web.Response(
        body=msgspec.json.encode(merged, enc_hook=str),
        status=status,
        content_type=MEDIA_TYPE,
        headers=headers,
    )
