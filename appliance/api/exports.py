"""The box's own command tells that it exported the journal."""

import msgspec
from aiohttp import web

from appliance.api.access import TILL
from appliance.api.bodies import read_json
from appliance.api.keys import REPORT
from appliance.domain.errors import Malformed, NotAllowed
from appliance.domain.wire import ExportNote
from appliance.runtime.bodies import json_answer
from appliance.services.presence import CONSOLE

NOTE_BYTES_MAX = 1024


async def post_export(request: web.Request) -> web.Response:
    """Record an export in the chain; only for `storebox export` on this machine."""
    if request[TILL] != CONSOLE:
        raise NotAllowed("only the box's own command exports the journal")
    try:
        note = msgspec.json.decode(await read_json(request, NOTE_BYTES_MAX), type=ExportNote)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
    await request.app[REPORT].journal.record("exported", note)
    return json_answer(note, status=201)
