"""Read what a server answers, up to a limit."""

import aiohttp


async def read_bounded(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The body; of one that is longer only so much that it cannot be taken for the whole."""
    body = await response.content.read(bytes_max + 1)
    chunks = [body]
    while body and sum(map(len, chunks)) <= bytes_max:
        body = await response.content.read(bytes_max + 1)
        chunks.append(body)
    return b"".join(chunks)
