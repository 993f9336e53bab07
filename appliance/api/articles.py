"""Look articles up, and give the whole catalogue on. Each answer says which version it comes from and how old it is."""

from aiohttp import web

from appliance.api.keys import MIRROR, MIRROR_KEEPER
from appliance.domain.errors import BadInput, NotFound, NotReady
from appliance.domain.wire import CATALOGUE_MEDIA, ArticlesView
from appliance.runtime.bodies import json_answer
from appliance.storage.mirror import Found

LIMIT = 20
# A first catalogue comes within a minute of the line.
RETRY_AFTER_S = 30
# Per download: forty tills that begin their day together must not cost the box its memory.
CHUNK_BYTES = 64 * 1024


async def get_article(request: web.Request) -> web.Response:
    """One article by its id."""
    found = request.app[MIRROR].by_id(request.match_info["article_id"])
    if not found.articles:
        raise NotFound("no such article", version=found.version, age_s=_age_s(request))
    return _answer(request, found)


async def find_articles(request: web.Request) -> web.Response:
    """Articles by exactly one of `gtin` and `q`; none found is an answer too."""
    query = request.query
    if len(query.getall("gtin", [])) + len(query.getall("q", [])) != 1:
        raise BadInput("ask with one gtin=CODE, or with one q=WORDS")
    if "gtin" in query:
        return _answer(request, request.app[MIRROR].by_gtin(query["gtin"]))
    limit = _whole_number("limit", query.get("limit", str(LIMIT)))
    return _answer(request, await request.app[MIRROR].search(query["q"], limit))


async def get_snapshot(request: web.Request) -> web.StreamResponse:
    """The whole catalogue; a download that broke off can go on (Range), one that is known need not begin (ETag)."""
    mirror = request.app[MIRROR]
    if mirror.version == 0:
        raise NotReady("the box has no catalogue yet", retry_after_s=RETRY_AFTER_S)
    return web.FileResponse(
        await mirror.snapshot(), chunk_size=CHUNK_BYTES, headers={"Content-Type": CATALOGUE_MEDIA}
    )


async def get_changes(request: web.Request) -> web.Response:
    """What changed after the version `since`."""
    since = _whole_number("since", request.query.get("since", ""))
    return web.Response(body=await request.app[MIRROR].changes(since), content_type=CATALOGUE_MEDIA)


def _answer(request: web.Request, found: Found) -> web.Response:
    return json_answer(ArticlesView(found.version, _age_s(request), found.articles))


def _age_s(request: web.Request) -> float:
    return round(request.app[MIRROR_KEEPER].age_s, 3)


def _whole_number(name: str, text: str) -> int:
    # 15 digits: beyond it neither JSON nor SQLite keeps every whole number.
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise BadInput(f"{name} must be a whole number")
    return int(text)
