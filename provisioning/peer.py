"""JSON over HTTP with head office or a box: typed answers, and each failure as one of ours."""

import ssl
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from appliance.domain.errors import ConfigError
from appliance.runtime.serving import LOOPBACK
from provisioning.errors import NoAnswer, Refused

Kind = TypeVar("Kind")

TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)
# Lists of boxes are the longest that is asked for.
ANSWER_BYTES_MAX = 8 * 1024 * 1024
_OK = (200, 201, 202, 204)


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    title: str = ""
    detail: str = ""


class Peer(NamedTuple):
    """One other side: its base URL, how it is known (`context`; None: plain HTTP), and the token for it."""

    session: aiohttp.ClientSession
    base: str
    context: ssl.SSLContext | None
    token: str = ""
    # The name that its certificate must have, when that is not the host of the URL.
    name: str | None = None

    async def get(self, path: str, kind: type[Kind]) -> Kind:
        """Ask for a typed answer. Raises NoAnswer, Refused."""
        return self._read(path, await self._ask("GET", path, None), kind)

    async def post(self, path: str, body: object, kind: type[Kind]) -> Kind:
        """Send JSON, for a typed answer. Raises NoAnswer, Refused."""
        return self._read(path, await self._ask("POST", path, msgspec.json.encode(body)), kind)

    async def tell(self, path: str, body: object) -> None:
        """Send JSON; the answer says nothing more. Raises NoAnswer, Refused."""
        await self._ask("POST", path, msgspec.json.encode(body))

    async def raw(self, path: str) -> bytes:
        """The bytes at a path. Raises NoAnswer, Refused."""
        return await self._ask("GET", path, None)

    async def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        options: dict[str, Any] = {"server_hostname": self.name} if self.name else {}
        try:
            async with self.session.request(
                method,
                self.base + path,
                data=body,
                headers=headers,
                ssl=self.context or True,
                allow_redirects=False,
                timeout=TIMEOUT,
                **options,
            ) as response:
                answer = await response.content.read(ANSWER_BYTES_MAX + 1)
                while len(answer) <= ANSWER_BYTES_MAX and (more := await response.content.readany()):
                    answer += more
                if response.status in _OK and len(answer) <= ANSWER_BYTES_MAX:
                    return answer
                raise self._refusal(response, answer)
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            raise NoAnswer(f"{self.base}: who answers cannot prove who he is: {reason}") from error
        except aiohttp.ClientConnectorError as error:
            raise NoAnswer(f"{self.base}: {error.os_error.strerror or 'cannot be reached'}") from error
        except (aiohttp.ClientError, ssl.SSLError, TimeoutError, OSError) as error:
            raise NoAnswer(f"{self.base}: {str(error) or 'no answer in time'}") from error

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> NoAnswer | Refused:
        if response.content_type != "application/problem+json":
            return NoAnswer(f"{self.base} answers {response.status}, and not in our words")
        try:
            said = msgspec.json.decode(body, type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = _Problem()
        return Refused(f"{said.title}: {said.detail}", problem=said.code, status=response.status)

    def _read(self, path: str, body: bytes, kind: type[Kind]) -> Kind:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NoAnswer(f"{self.base}{path} answers something else than was asked") from error


def check_plain(url: str) -> None:
    """Raise ConfigError unless what is said to this URL stays on this machine: a token never goes out in the clear."""
    host = urlsplit(url).hostname
    if url.startswith("http://") and host not in LOOPBACK:
        raise ConfigError(f"{url}: plain HTTP is for this machine alone; say https://")
