"""Who may call: a wrapper per kind of access, put around handlers by `app.py`."""

from aiohttp import web

from appliance.api.keys import PRESENCE
from appliance.runtime.problem import Handler
from appliance.runtime.serving import LOOPBACK
from appliance.runtime.tls import shown_by

# The till that asks; set for every handler behind `for_tills`.
TILL = web.RequestKey("till", str)


def for_tills(handler: Handler) -> Handler:
    """Let only requests with a paired till's token pass."""

    async def identified(request: web.Request) -> web.StreamResponse:
        request[TILL] = await request.app[PRESENCE].identify(
            request.headers.get("Authorization"), shown_by(request.transport), request.remote or ""
        )
        return await handler(request)

    return identified


def for_loopback_or_tills(handler: Handler) -> Handler:
    """Let programs on the box itself pass, and paired tills."""
    guarded = for_tills(handler)

    async def judged(request: web.Request) -> web.StreamResponse:
        return await (handler if request.remote in LOOPBACK else guarded)(request)

    return judged
