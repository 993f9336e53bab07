"""Requests that come all at once on one connection (pipelining) are bounded like those that come one by one."""

import asyncio
import re
from pathlib import Path

from appliance.config import Limits
from appliance.runtime.tls import pinned_context
from tests.integration.pairing.conftest import a_tls_shop

ATTACKER = ("127.0.0.2", 0)


async def test_who_sends_hundreds_of_requests_at_once_is_cut_off_at_the_first_one_too_many(
    tmp_path: Path,
) -> None:
    async with a_tls_shop(tmp_path, limits=Limits(unpaired_burst=5)) as shop:
        host, _, port = shop.url.removeprefix("https://").rpartition(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=pinned_context(shop.identity.spki), local_addr=ATTACKER
        )
        writer.write(b"GET /v1/hello HTTP/1.1\r\nHost: box\r\n\r\n" * 300)

        heard = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert re.findall(rb"HTTP/1\.1 (\d{3})", heard) == [b"200"] * 5 + [b"429"]
    assert b"Connection: close" in heard
