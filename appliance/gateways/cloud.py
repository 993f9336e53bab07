"""Head office over HTTP. Every request is one sample of the line, told to whoever watches it.

Errors leave here as CloudUnreachable (no trustworthy answer, with a cause) or CloudRefused (an answer that says no).
"""

import asyncio
import io
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiohttp
import msgspec
from yarl import URL

from appliance.domain import digest, wire
from appliance.domain.canonical import canonical
from appliance.domain.enrolling import RenewAnswer
from appliance.domain.errors import (
    BadSignature,
    CertificateExpired,
    CloudRefused,
    CloudUnreachable,
    OutcomeUnknown,
    SnapshotRequired,
    TooLarge,
)
from appliance.domain.link import Cause
from appliance.domain.pairing import TillRecord
from appliance.domain.statements import PROBE_TYPE, Keys, ProbeAnswer, verify
from appliance.gateways.answers import read_bounded
from appliance.gateways.patience import PATIENCE, Patience
from appliance.gateways.probes import cause_of
from appliance.gateways.samples import Observe, Sampling
from appliance.runtime.clock import Clock

Answer = TypeVar("Answer")


JSON = "application/json"
RENEW = "/.well-known/est/simplereenroll"
# Our own cloud finds a question of ours unreadable: a bit of it was changed on the way, or releases differ. Neither is
# a reason to give up.
UNREADABLE = (400, 404, 405, 415)
# Answers other than a catalogue are small; what is larger does not come from our cloud.
ANSWER_BYTES_MAX = 1024 * 1024
CHUNK_BYTES = 1024 * 1024


class CloudGateway:
    """The cloud's client. Use `open_cloud`. Implements services.ports.Cloud, UpdateCloud, IdentityCloud."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        host: str,
        box: str,
        keys: Keys,
        clock: Clock,
        observe: Observe,
        patience: Patience,
    ) -> None:
        self._session = session
        self._host = host
        self._box = box
        self._keys = keys
        self._clock = clock
        self._observe = observe
        self._patience = patience
        self._expired: list[Callable[[], None]] = []

    def listen(self, expired: Callable[[], None]) -> None:
        """Have a function called, which must not wait, when head office says that the box's certificate has ended."""
        self._expired.append(expired)

    async def probe(self) -> None:
        """See ports.Cloud. A captive portal cannot sign our nonce."""
        nonce = secrets.token_hex(16)
        body = canonical(wire.ProbeRequest(nonce))
        path = f"/v1/boxes/{self._box}/probe"
        with self._sampled() as sample:
            envelope = await self._call("POST", path, body, JSON, wire.ENVELOPE_MEDIA, self._patience.probe)
            try:
                answer = verify(envelope, PROBE_TYPE, ProbeAnswer, self._keys)
            except BadSignature as error:
                raise CloudUnreachable(f"the probe's answer: {error}", cause=Cause.CAPTIVE_PORTAL) from error
            if answer.nonce != nonce or answer.box != self._box:
                raise CloudUnreachable(
                    "the probe's answer is to another question", cause=Cause.CAPTIVE_PORTAL
                )
            sample.ok()

    async def send_batch(self, batch: bytes, nonce: str) -> bytes:
        """See ports.Cloud."""
        path, headers = f"/v1/boxes/{self._box}/events", {wire.NONCE_HEADER: nonce}
        with self._sampled(bulk=True) as sample:
            answer = await self._call(
                "POST", path, batch, wire.BATCH_MEDIA, wire.ENVELOPE_MEDIA, self._patience.transfer, headers
            )
            sample.ok()
        return answer

    async def heartbeat(self, envelope: bytes) -> wire.HeartbeatAnswer:
        """See ports.Cloud."""
        path = f"/v1/boxes/{self._box}/heartbeat"
        with self._sampled() as sample:
            answer = await self._call("POST", path, envelope, wire.ENVELOPE_MEDIA, JSON, self._patience.call)
            sample.ok()
        return _decoded(answer, wire.HeartbeatAnswer)

    async def policy(self) -> bytes:
        """See ports.Cloud."""
        with self._sampled() as sample:
            answer = await self._call(
                "GET", "/v1/policy", b"", JSON, wire.ENVELOPE_MEDIA, self._patience.call
            )
            sample.ok()
        return answer

    async def offer(self) -> bytes:
        """See ports.UpdateCloud."""
        path = f"/v1/boxes/{self._box}/offer"
        with self._sampled() as sample:
            answer = await self._call("GET", path, b"", JSON, wire.ENVELOPE_MEDIA, self._patience.call)
            sample.ok()
        return answer

    async def fetch_piece(self, sha256: str, start: int, count: int, size: int) -> bytes:
        """See ports.UpdateCloud. A range (RFC 9110 section 14) of what stands under its hash and never changes."""
        path, last = f"/v1/bundles/{sha256}", min(start + count, size) - 1
        headers = {"Range": f"bytes={start}-{last}"}
        with self._sampled(bulk=True) as sample:
            piece = await self._call(
                "GET", path, b"", JSON, wire.BUNDLE_MEDIA, self._patience.transfer, headers
            )
            if len(piece) != last - start + 1:
                raise CloudUnreachable(f"{path}: {len(piece)} bytes for a range", cause=Cause.CAPTIVE_PORTAL)
            sample.ok()
        return piece

    async def operation(self, name: str, request: wire.OperationRequest) -> wire.OperationAnswer:
        """See ports.Cloud."""
        path = f"/v1/boxes/{self._box}/operations/{name}"
        with self._sampled() as sample:
            try:
                body = await self._call("POST", path, canonical(request), JSON, JSON, self._patience.call)
                answer = _decoded(body, wire.OperationAnswer)
                if (answer.operation, answer.operation_id) != (name, request.operation_id):
                    raise CloudUnreachable("an answer to another question", cause=Cause.CAPTIVE_PORTAL)
            except CloudUnreachable as error:
                raise OutcomeUnknown(operation=name, operation_id=request.operation_id) from error
            sample.ok()
        return answer

    async def fetch_catalogue(self, since: int | None, into: Path) -> None:
        """See ports.Cloud."""
        path = "/v1/catalogue/snapshot" if since is None else f"/v1/catalogue/changes?since={since}"
        with self._sampled(bulk=True) as sample:
            try:
                async with self._session.get(path, timeout=self._patience.transfer) as response:
                    if response.status != 200:
                        await self._refuse(response)
                    self._check_media(response, wire.CATALOGUE_MEDIA)
                    await _save(response, into)
            except CloudRefused as refusal:
                sample.ok()
                if refusal.fields["problem"] == SnapshotRequired.code:
                    raise SnapshotRequired(str(refusal)) from refusal
                raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise CloudUnreachable(f"GET {path}: {error!r}", cause=self._cause(error)) from error
            sample.ok()

    async def renew(self, envelope: bytes) -> RenewAnswer:
        """See ports.IdentityCloud."""
        answer = await self._call("POST", RENEW, envelope, wire.ENVELOPE_MEDIA, JSON, self._patience.call)
        return _decoded(answer, RenewAnswer)

    async def keep_tills(self, tills: list[TillRecord]) -> None:
        """See ports.IdentityCloud."""
        path = f"/v1/boxes/{self._box}/tills"
        await self._call("PUT", path, canonical(tills), JSON, None, self._patience.call)

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes,
        media: str,
        answer_media: str | None,
        limits: aiohttp.ClientTimeout,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        headers = {"Content-Type": media, digest.HEADER: digest.digest_of(body), **(headers or {})}
        # As a file, so that a large batch goes out in pieces between which the loop does other things.
        data = None if method == "GET" else io.BytesIO(body)
        try:
            async with self._session.request(
                method, path, data=data, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                if response.status not in (200, 201, 204, 206):
                    await self._refuse(response)
                if answer_media is not None:
                    self._check_media(response, answer_media)
                return await read_bounded(response, ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CloudUnreachable(f"{method} {path}: {error!r}", cause=self._cause(error)) from error

    def _cause(self, error: Exception) -> Cause:
        return cause_of(error, self._host, quality=self._clock.reading().quality)

    async def _refuse(self, response: aiohttp.ClientResponse) -> NoReturn:
        """Raise what an answer other than 200 means; only a problem of ours counts as the cloud's own word."""
        where = f"{response.method} {response.url.path} answered {response.status}"
        if response.status >= 500 or response.status in (408, 429):
            retry_after = response.headers.get("Retry-After", "")
            raise CloudUnreachable(
                where,
                cause=Cause.CLOUD_DOWN,
                retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
            )
        if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            # Mostly the word of a proxy before the cloud, whatever form it has: a smaller request may pass.
            raise CloudRefused(where, status=response.status, problem=TooLarge.code)
        if response.content_type != "application/problem+json":
            raise CloudUnreachable(f"{where}, and not in our words", cause=Cause.CAPTIVE_PORTAL)
        body: dict[str, Any] = _decoded(await read_bounded(response, ANSWER_BYTES_MAX), dict[str, Any])
        if response.status in UNREADABLE:
            # The line carries; only the question has to be asked again.
            raise CloudUnreachable(f"{where}: {body.get('detail', '')}", cause=Cause.OK)
        if body.get("code") == CertificateExpired.code:
            for listener in self._expired:
                listener()
        raise CloudRefused(
            f"{where}: {body.get('detail', '')}", status=response.status, problem=body.get("code"), body=body
        )

    def _check_media(self, response: aiohttp.ClientResponse, expected: str) -> None:
        if response.content_type != expected:
            raise CloudUnreachable(
                f"{response.url.path} answered {response.content_type}", cause=Cause.CAPTIVE_PORTAL
            )

    def _sampled(self, *, bulk: bool = False) -> Sampling:
        return Sampling(self._clock, self._observe, bulk)


def _decoded(body: bytes, kind: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CloudUnreachable(f"the answer cannot be read: {error}", cause=Cause.CAPTIVE_PORTAL) from error


async def _save(response: aiohttp.ClientResponse, into: Path) -> None:
    # Each piece opens and closes the file in its thread: a cancelled download leaves no file open.
    await asyncio.to_thread(into.write_bytes, b"")
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        await asyncio.to_thread(_append, into, chunk)


def _append(into: Path, chunk: bytes) -> None:
    with into.open("ab") as file:
        file.write(chunk)


@asynccontextmanager
async def open_cloud(
    url: str,
    *,
    token: str,
    box: str,
    keys: Keys,
    clock: Clock,
    observe: Observe,
    patience: Patience = PATIENCE,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[CloudGateway]:
    """Speak to the cloud at `url` while inside, in this box's name: by its token, or by what `context` shows."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(ssl=context or True)
    async with aiohttp.ClientSession(
        url, headers=headers, auto_decompress=False, connector=connector
    ) as session:
        yield CloudGateway(session, URL(url).host or url, box, keys, clock, observe, patience)
