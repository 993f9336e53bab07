"""Head office, as `storebox rescue` speaks to it in the name of this box."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec

from appliance.domain.errors import CloudRefused, CloudUnreachable
from appliance.domain.wire import BATCH_MEDIA, RescueAnswer, RescueView
from appliance.gateways.probes import cause_of

Answer = TypeVar("Answer")

TIMEOUT = aiohttp.ClientTimeout(total=600.0, sock_connect=5.0, sock_read=60.0)


class RescueGateway:
    """Use `open_rescue`. Implements services.ports.RescueCloud."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def look(self, box: str) -> RescueView:
        """See ports.RescueCloud."""
        return await self._ask("GET", f"/v1/rescue/{box}", RescueView)

    async def send_rescued(self, box: str, batch: bytes) -> RescueAnswer:
        """See ports.RescueCloud."""
        return await self._ask("POST", f"/v1/rescue/{box}/events", RescueAnswer, batch)

    async def _ask(self, method: str, path: str, kind: type[Answer], body: bytes | None = None) -> Answer:
        headers = {"Content-Type": BATCH_MEDIA} if body is not None else {}
        try:
            async with self._session.request(
                method, path, data=body, headers=headers, allow_redirects=False
            ) as response:
                answer, status = await response.read(), response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CloudUnreachable(f"{method} {path}: {error!r}", cause=cause_of(error)) from error
        try:
            if status == 200:
                return msgspec.json.decode(answer, type=kind)
            problem = msgspec.json.decode(answer, type=dict)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CloudUnreachable(f"{method} {path} answered {status}, and not in our words") from error
        if status >= 500:
            raise CloudUnreachable(f"{method} {path} answered {status}: {problem.get('detail')}")
        raise CloudRefused(
            f"head office answered {status}: {problem.get('detail')}",
            status=status,
            problem=problem.get("code"),
        )


@asynccontextmanager
async def open_rescue(url: str, token: str) -> AsyncIterator[RescueGateway]:
    """Speak to head office while inside, with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers, timeout=TIMEOUT) as session:
        yield RescueGateway(session)
