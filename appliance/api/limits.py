"""What a caller may take: no page in a browser anything, a stranger little, a paired till enough.

A till pays for its own requests, wherever it asks from; whoever shows no good token pays as the address it comes from.
"""

from http import HTTPStatus

from aiohttp import hdrs, web

from appliance.api.keys import RATES
from appliance.domain.errors import BrowserRefused, Unauthenticated
from appliance.runtime.problem import Handler
from appliance.services.presence import CONSOLE, Presence
from appliance.services.rates import Rates


@web.middleware
async def limits_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse browsers, and count what no route serves."""
    if hdrs.ORIGIN in request.headers:
        request.app[RATES].admit_stranger(request.remote or "")
        raise BrowserRefused
    if request.match_info.http_exception is not None:
        request.app[RATES].admit_stranger(request.remote or "")
    return await handler(request)


async def part_with_the_hasty(_request: web.Request, response: web.StreamResponse) -> None:
    """End the connection of who asks too often (an `on_response_prepare` signal).

    Hundreds of requests may stand on it already, sent at once; each would be read and refused before a till's.
    """
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()


async def identified(
    presence: Presence, rates: Rates, authorization: str | None, certificate: str | None, remote: str
) -> str:
    """Who asks, once he may ask this often. Raises Unauthenticated, TooMany."""
    try:
        till = await presence.identify(authorization, certificate, remote)
    except Unauthenticated:
        rates.admit_stranger(remote)
        raise
    if till != CONSOLE:
        rates.admit_till(till)
    return till


def for_strangers(handler: Handler) -> Handler:
    """Anybody, as often as a stranger may ask."""

    async def admitted(request: web.Request) -> web.StreamResponse:
        request.app[RATES].admit_stranger(request.remote or "")
        return await handler(request)

    return admitted


def for_newcomers(handler: Handler) -> Handler:
    """Anybody who wants to be let in, as often as one may try."""

    async def admitted(request: web.Request) -> web.StreamResponse:
        request.app[RATES].admit_pairing(request.remote or "")
        return await handler(request)

    return admitted
