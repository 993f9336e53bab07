"""What handlers may reach, by typed key. Set once, in `app.py`."""

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from appliance.domain.wire import Hello
from appliance.services.feed import Feed
from appliance.services.mirror import MirrorKeeper
from appliance.services.operations import Operations
from appliance.services.presence import Presence
from appliance.services.report import Report
from appliance.services.selling import Selling
from appliance.storage.mirror import Mirror

FEED = web.AppKey("feed", Feed)
HELLO = web.AppKey("hello", Hello)
MIRROR = web.AppKey("mirror", Mirror)
MIRROR_KEEPER = web.AppKey("mirror_keeper", MirrorKeeper)
OPENAPI = web.AppKey("openapi", bytes)
OPERATIONS = web.AppKey("operations", Operations)
PRESENCE = web.AppKey("presence", Presence)
REPORT = web.AppKey("report", Report)
SELLING = web.AppKey("selling", Selling)
STREAMS = web.AppKey("streams", set[EventSourceResponse])
