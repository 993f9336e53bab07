"""What technicians and head office do about boxes, over HTTP."""

from aiohttp import web

ROUTES: tuple[web.RouteDef, ...] = ()
