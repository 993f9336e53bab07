"""Headers on every answer: a box is no web site, and nothing in it is for a browser to keep, guess or frame."""

from aiohttp import hdrs, web

STRICT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    hdrs.SERVER: "storebox",
}
OVER_TLS = {"Strict-Transport-Security": "max-age=31536000"}
KEPT_NOWHERE = "no-store"


def add_strict_headers(app: web.Application, *, tls: bool) -> None:
    """Have them put on every answer of the application, over what the library says."""
    strict = STRICT | (OVER_TLS if tls else {})

    async def harden(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(strict)
        response.headers.setdefault(hdrs.CACHE_CONTROL, KEPT_NOWHERE)

    app.on_response_prepare.append(harden)
