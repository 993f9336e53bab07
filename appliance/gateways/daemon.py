"""The running daemon on this machine, as the box's own commands reach it."""

import http.client
import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from appliance.domain.errors import CloudError, ConfigError
from appliance.runtime.certificates import key_spki, load_or_create_p256
from appliance.runtime.tls import pinned_context

TIMEOUT_S = 5.0


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""


def ask_daemon(url_file: Path, token_file: Path, method: str, path: str, body: bytes | None = None) -> bytes:
    """The body of a good answer. Raises ConfigError (it never ran here), CloudError (a bad answer), OSError (none).

    Over TLS only to who has this box's own key.
    """
    try:
        url, token = url_file.read_text(), token_file.read_text()
    except FileNotFoundError as error:
        raise ConfigError("the box has never run with this state directory") from error
    connection = _connection(url, url_file.with_name("tls-key.pem"))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise CloudError(f"the box's answer cannot be read: {error!r}") from error
    finally:
        connection.close()
    if response.status not in (200, 201, 204):
        raise CloudError(f"the box answered {response.status}{_why(answer)}", status=response.status)
    return answer


def _connection(url: str, key: Path) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    # An IPv6 address may stand there without brackets.
    host, _, port = parts.netloc.rpartition(":")
    host = host.strip("[]")
    where: dict[str, Any] = {"host": _beside(host), "port": int(port), "timeout": TIMEOUT_S}
    if parts.scheme == "http":
        return http.client.HTTPConnection(**where)
    return http.client.HTTPSConnection(context=pinned_context(key_spki(load_or_create_p256(key))), **where)


def _beside(host: str) -> str:
    """Where to ask a daemon that listens at this address: its commands are let in over loopback alone."""
    address = ipaddress.ip_address(host)
    if address.is_loopback:
        return host
    return "127.0.0.1" if address.version == 4 or address.is_unspecified else "::1"


def _why(answer: bytes) -> str:
    try:
        detail = msgspec.json.decode(answer, type=_Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f": {detail}" if detail else ""
