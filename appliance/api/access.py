"""Who may call: a wrapper per kind of access, put around handlers by `app.py`."""

from aiohttp import web

from appliance.api.keys import PRESENCE, RATES
from appliance.api.limits import for_strangers, identified
from appliance.domain.errors import NotAllowed
from appliance.runtime.problem import Handler
from appliance.runtime.serving import LOOPBACK
from appliance.runtime.tls import shown_by
from appliance.services.presence import CONSOLE

# The till that asks; set for every handler behind `for_tills`.
TILL = web.RequestKey("till", str)


def for_tills(handler: Handler) -> Handler:
    """Let only requests with a paired till's token pass."""

    async def judged(request: web.Request) -> web.StreamResponse:
        app, remote = request.app, request.remote or ""
        shown = shown_by(request.transport)
        request[TILL] = await identified(
            app[PRESENCE], app[RATES], request.headers.get("Authorization"), shown, remote
        )
        return await handler(request)

    return judged


def for_loopback_or_tills(handler: Handler) -> Handler:
    """Let programs on the box itself pass, and paired tills."""
    guarded, open_to_box = for_tills(handler), for_strangers(handler)

    async def judged(request: web.Request) -> web.StreamResponse:
        return await (open_to_box if request.remote in LOOPBACK else guarded)(request)

    return judged


def for_console(handler: Handler) -> Handler:
    """Let only the box's own commands pass."""

    async def own(request: web.Request) -> web.StreamResponse:
        if request[TILL] != CONSOLE:
            raise NotAllowed("only the box's own commands may do this")
        return await handler(request)

    return for_tills(own)
