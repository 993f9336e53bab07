"""Come to know a box: by the code that it shows, or by a key that it has from the box before it."""

import asyncio
from collections.abc import Sequence

import aiohttp

from appliance.domain.canonical import canonical
from appliance.domain.link import Cause
from appliance.domain.pairing import Invitation, PairAnswer, PairRequest
from appliance.runtime.tls import pinned_context
from till.discovery import browsing
from till.errors import NoAnswer, NotOurBox
from till.identity import Pairing, TillKeys
from till.peer import Peer

# The box makes a certificate and writes twice to its disk before it answers.
PAIR_S = 15.0
SEARCH_S = 3.0


async def pair_by_code(
    session: aiohttp.ClientSession,
    keys: TillKeys,
    invitation: Invitation,
    till: str,
    *,
    name: str = "",
    interfaces: Sequence[str] = (),
) -> Pairing:
    """Pair with the box whose code this is, at one of its addresses, or where it announces itself.

    Kept on disk when this returns. Raises NoAnswer when it is nowhere, Refused, NotOurBox.
    """
    csr = await asyncio.to_thread(keys.csr, till)
    request = PairRequest(csr=csr, till=till, secret=invitation.secret, name=name)
    asked: dict[str, NoAnswer] = {}
    for place in invitation.addresses:
        try:
            return await _pair_at(session, keys, invitation, place, request)
        except NoAnswer as error:
            asked[place] = error
    try:
        async with asyncio.timeout(SEARCH_S), browsing(interfaces) as boxes:
            while True:
                found = await boxes.get()
                for place in found.places if found.box == invitation.box else ():
                    if place not in asked:
                        return await _pair_at(session, keys, invitation, place, request)
    except (NoAnswer, TimeoutError, OSError) as error:
        raise _nowhere([*asked.values(), *([error] if isinstance(error, NoAnswer) else [])]) from None


def _nowhere(tried: Sequence[NoAnswer]) -> NoAnswer:
    """One error that tells of each address: which of them should have answered is not for the till to guess."""
    told = "; ".join(str(error) for error in tried) or "the code names no address"
    return NoAnswer(told, cause=Cause.NO_ANSWER, in_doubt=any(error.in_doubt for error in tried))


async def _pair_at(
    session: aiohttp.ClientSession, keys: TillKeys, invitation: Invitation, place: str, request: PairRequest
) -> Pairing:
    answer = await ask(session, f"https://{place}", request, invitation.spki)
    if (answer.box, answer.hello.fp) != (invitation.box, invitation.fp):
        raise NotOurBox(
            f"{answer.box} answers, but the code is of {invitation.box}", known=invitation.box, met=answer.box
        )
    return await asyncio.to_thread(keys.keep, answer, invitation.spki)


async def pair_by_key(
    session: aiohttp.ClientSession, keys: TillKeys, url: str, box: str, spki: str
) -> Pairing:
    """Pair with the box at this URL that stands in the place of ours: it knows our key. Raises as `pair_by_code`."""
    pairing = keys.paired
    csr = await asyncio.to_thread(keys.csr, pairing.till)
    answer = await ask(session, url, PairRequest(csr=csr, till=pairing.till), spki)
    if answer.box != box:
        raise NotOurBox(f"{answer.box} lets us in, but {box} was asked", known=box, met=answer.box)
    return await asyncio.to_thread(keys.keep, answer, spki)


async def ask(session: aiohttp.ClientSession, url: str, request: PairRequest, spki: str) -> PairAnswer:
    """Ask the box with this TLS key to let us in. Raises NoAnswer, Refused, NotOurBox (an answer to another till)."""
    peer = Peer(session, url, total_s=PAIR_S, context=pinned_context(spki))
    answer = peer.parsed(await peer.post("/v1/pair", canonical(request)), PairAnswer)
    if answer.till != request.till:
        raise NotOurBox(f"{url} lets in {answer.till}, not {request.till}")
    return answer
