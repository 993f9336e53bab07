"""What head office opens to all is counted by address, before anything is read: nobody floods it from one place."""

from pathlib import Path

import aiohttp
import pytest

from appliance.runtime.tls import unverified_context
from tests.fakes.clock import FakeClock
from tests.integration.authority.conftest import EST, Chain
from tests.integration.cloud.conftest import World, a_world

BURST, PER_S = 60, 5


async def answers(
    world: World, address: str, method: str, path: str, times: int
) -> list[aiohttp.ClientResponse]:
    """What somebody at an address of this machine is answered, time after time."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=unverified_context())
    async with aiohttp.ClientSession(world.session._base_url, connector=connector) as session:
        heard = []
        for _ in range(times):
            async with session.request(method, path, data=b"{}" if method == "POST" else None) as response:
                await response.read()
                heard.append(response)
        return heard


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "cacerts"), ("POST", "simpleenroll"), ("POST", "simplereenroll")]
)
async def test_one_address_is_cut_short_and_told_when_to_come_back(
    chain: Chain, method: str, path: str
) -> None:
    heard = await answers(chain, "127.9.9.9", method, f"{EST}/{path}", BURST + 3)

    refused = [response for response in heard if response.status == 429]
    assert len(refused) == 3
    assert {response.headers["Retry-After"] for response in refused} == {"1"}
    assert {response.content_type for response in refused} == {"application/problem+json"}
    assert 429 not in {r.status for r in await answers(chain, "127.9.9.8", method, f"{EST}/{path}", 2)}
    await chain.clock.advance(1.0)
    again = await answers(chain, "127.9.9.9", method, f"{EST}/{path}", PER_S + 1)
    assert [response.status == 429 for response in again] == [False] * PER_S + [True]


async def test_a_box_enrols_and_renews_while_somebody_else_floods(chain: Chain) -> None:
    await answers(chain, "127.9.9.9", "GET", f"{EST}/cacerts", BURST + 1)

    box = await chain.certified()
    await chain.renewed(box)


async def test_a_proxy_counts_for_itself(tmp_path: Path, clock: FakeClock) -> None:
    async with a_world(tmp_path, clock, proxies=["127.9.9.7"]) as world:
        heard = await answers(world, "127.9.9.7", "GET", f"{EST}/cacerts", BURST + 3)

    assert {response.status for response in heard} == {200}
