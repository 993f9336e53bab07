"""A head office far away: `python -m bench.headoffice KEY`, which takes batches and answers each after 60 ms.

It does what no head office can leave out (unpack, check every hash and the chain, sign the receipt) and nothing else,
so that the drain is measured and not what it drains into.
"""

import asyncio
import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from appliance.domain import batch, event
from appliance.domain.dsse import Envelope, Signer
from appliance.domain.event import Position
from appliance.domain.statements import RECEIPT_TYPE, Head, Receipt, sign
from appliance.domain.wire import BATCH_BYTES_MAX, ENVELOPE_MEDIA, NONCE_HEADER
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.runtime.keyfile import load_or_create
from appliance.runtime.process import run_daemon
from appliance.runtime.serving import listening
from bench.processes import Server, python, serving

HOST = "127.0.0.1"
# A line to a data centre of the same continent, with a head office that works for a few of these.
ANSWER_S = 0.06


@contextmanager
def far_head_office(folder: Path, key: Path) -> Iterator[Server]:
    """The server in a process of its own, while inside; it signs with the key in the file, made when missing."""
    with serving(python("-m", "bench.headoffice", str(key)), folder / "headoffice.log") as server:
        yield server


def receipt_for(body: bytes, box: str, nonce: str, at: str) -> Receipt:
    """The receipt for a batch whose chain holds and ends at its head. Raises BadInput, BadEvent, AssertionError."""
    envelope, bodies = batch.unpack(body)
    payload = base64.b64decode(msgspec.json.decode(envelope, type=Envelope).payload)
    head = msgspec.json.decode(payload, type=Head)
    events = [event.read(text) for text in bodies]
    first = events[0].link
    end = Position(first.epoch, first.seq - 1, bytes.fromhex(first.prev))
    for sealed in events:
        end = event.follow(end, sealed, box=box)
    assert end == head.position, "the head signs another event than the last one"
    return Receipt(box=box, epoch=end.epoch, seq=end.seq, head=end.head.hex(), at=at, nonce=nonce)


def make_app(signer: Signer) -> web.Application:
    """The application."""
    clock = SystemClock()

    async def post(request: web.Request) -> web.Response:
        body = await request.read()
        nonce, at = request.headers[NONCE_HEADER], rfc3339(clock.wall())
        receipt = receipt_for(body, request.match_info["box"], nonce, at)
        await clock.sleep(ANSWER_S)
        return web.Response(body=sign(signer, RECEIPT_TYPE, receipt), content_type=ENVELOPE_MEDIA)

    app = web.Application(client_max_size=BATCH_BYTES_MAX)
    app.router.add_post("/v1/boxes/{box}/events", post)
    return app


def main() -> None:
    """Serve until told to stop."""
    signer = load_or_create(Path(sys.argv[1]))

    async def serve(stop: asyncio.Event) -> None:
        async with listening(make_app(signer), HOST, 0) as port:
            print(f"ready http://{HOST}:{port}", flush=True)
            await stop.wait()

    run_daemon(serve)


if __name__ == "__main__":
    main()
