"""The cloud, as a till speaks to it when it sells straight there (docs/PROTOCOL.md, "The cloud")."""

import ssl

import aiohttp
import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.wire import CloudSaleAnswer, OperationAnswer, OperationRequest
from till.peer import Answer, Peer

# A customer waits: after 3 s the box gets the sale.
SALE_S = 3.0


class Cloud:
    """Head office at one URL. Calls raise NoAnswer or Refused; a sale whose outcome is open is safe to send again."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        *,
        total_s: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._peer = Peer(session, base, total_s=total_s, context=context)

    async def sell(self, sale_id: str, body: bytes) -> bytes:
        """Bring a sale; the cloud holds it when this returns. The verbatim answer."""
        answer = await self._peer.post("/v1/sales", body)
        self._same(answer, CloudSaleAnswer, "sale_id", sale_id)
        return answer.body

    async def operation(self, name: str, request: OperationRequest) -> None:
        """Ask for an online-only operation; done when this returns."""
        answer = await self._peer.post(f"/v1/operations/{name}", canonical(request))
        self._same(answer, OperationAnswer, "operation_id", request.operation_id)

    def _same(self, answer: Answer, kind: type[msgspec.Struct], field: str, asked: str) -> None:
        """Whoever cannot repeat the id has not read the question: a captive portal says 200 to everything."""
        try:
            told = msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._peer.not_our_words(f"no {kind.__name__}: {error}") from error
        if getattr(told, field) != asked:
            raise self._peer.not_our_words(f"an answer about another {field}")
