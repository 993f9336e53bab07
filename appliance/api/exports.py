"""The box's own command tells that it exported the journal."""

from aiohttp import web

from appliance.api.bodies import read_typed
from appliance.api.keys import REPORT
from appliance.domain.wire import ExportNote
from appliance.runtime.bodies import json_answer

NOTE_BYTES_MAX = 1024


async def post_export(request: web.Request) -> web.Response:
    """Record an export in the chain; only for `storebox export` on this machine."""
    note = await read_typed(request, NOTE_BYTES_MAX, ExportNote)
    await request.app[REPORT].journal.record("exported", note)
    return json_answer(note, status=201)
