"""What handlers may reach, by typed key. Set once, in `app.py`."""

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from appliance.services.feed import Feed
from appliance.services.mirror import MirrorKeeper
from appliance.services.multicast import MulticastWatch
from appliance.services.operations import Operations
from appliance.services.pairing import Pairing
from appliance.services.presence import Presence
from appliance.services.rates import Rates
from appliance.services.report import Report
from appliance.services.selling import Selling
from appliance.services.tills import TillDesk
from appliance.services.trial import Trial
from appliance.storage.mirror import Mirror

FEED = web.AppKey("feed", Feed)
MIRROR = web.AppKey("mirror", Mirror)
MIRROR_KEEPER = web.AppKey("mirror_keeper", MirrorKeeper)
MULTICAST = web.AppKey("multicast", MulticastWatch)
OPENAPI = web.AppKey("openapi", bytes)
OPERATIONS = web.AppKey("operations", Operations)
PAIRING = web.AppKey("pairing", Pairing)
PRESENCE = web.AppKey("presence", Presence)
RATES = web.AppKey("rates", Rates)
REPORT = web.AppKey("report", Report)
SELLING = web.AppKey("selling", Selling)
# Whose each open stream is.
STREAMS = web.AppKey("streams", dict[EventSourceResponse, str])
TILLS = web.AppKey("tills", TillDesk)
TRIAL = web.AppKey("trial", Trial)
