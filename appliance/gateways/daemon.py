"""The running daemon on this machine, as the box's own commands reach it."""

import http.client
from pathlib import Path

from appliance.domain.errors import CloudError, ConfigError

TIMEOUT_S = 5.0


def ask_daemon(url_file: Path, token_file: Path, method: str, path: str, body: bytes | None = None) -> bytes:
    """The body of a good answer. Raises ConfigError (it never ran here), CloudError (a bad answer), OSError (none)."""
    try:
        host, _, port = url_file.read_text().removeprefix("http://").rpartition(":")
        token = token_file.read_text()
    except FileNotFoundError as error:
        raise ConfigError("the box has never run with this state directory") from error
    address = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104  where it listens, not where to ask
    connection = http.client.HTTPConnection(address, int(port), timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise CloudError(f"the box's answer cannot be read: {error!r}") from error
    finally:
        connection.close()
    if response.status not in (200, 201):
        raise CloudError(f"the box answered {response.status}")
    return answer
