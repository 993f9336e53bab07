"""Bad requests: out of the box's own OpenAPI document, damaged, oversized, and plain noise. A seed decides them all.

Schemathesis bends what the document says; hypothesis draws bytes that are nothing at all.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok


class Request(NamedTuple):
    """The bytes of one request, and the route of the document that it was made from ("": none)."""

    kind: str
    route: str
    data: bytes


def made_of(document: dict[str, Any], count: int, number: int) -> list[Request]:
    """`count` requests out of the document, as many for each route: such as it allows, and such as it forbids."""
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    each = -(-count // (2 * len(operations)))
    made: list[Request] = []
    for operation in operations:
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the generator thinks of its own draws
                drawn = _draw(operation.as_strategy(generation_mode=mode), each, number)
            made += [Request("api", operation.label, _bytes_of(case)) for case in drawn]
    random.Random(number).shuffle(made)
    return made[:count]


def noise(count: int, number: int) -> list[Request]:
    """Bytes that are no request."""
    return [
        Request("noise", "", drawn) for drawn in _draw(st.binary(min_size=1, max_size=2_000), count, number)
    ]


def damaged(whole: list[Request], count: int, rng: random.Random) -> Iterator[Request]:
    """Requests with some bytes changed, cut or doubled."""
    for _ in range(count):
        data = bytearray(rng.choice(whole).data)
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randint(1, 16)]
                case _:
                    data[at:at] = data[at : at + 16]
            if not data:
                data = bytearray(b"\x00")
        yield Request("damaged", "", bytes(data))


def oversized(count: int, rng: random.Random) -> Iterator[Request]:
    """Too much of everything that a request has."""
    kinds: list[Callable[[], bytes]] = [
        lambda: _head("GET", "/" + "a" * rng.randint(8_000, 200_000)),
        lambda: _head("GET", "/v1/hello", f"X: {'a' * rng.randint(8_000, 200_000)}"),
        lambda: _head("GET", "/v1/hello", *(f"X-{n}: {n}" for n in range(rng.randint(100, 5_000)))),
        lambda: _head("POST", "/v1/sales", "Content-Type: application/json", f"Content-Length: {10**12}"),
        lambda: (
            _head("POST", "/v1/sales", "Content-Type: application/json", "Content-Length: 3000000")
            + b"[" * 3_000_000
        ),
        lambda: (
            _head("POST", "/v1/pair", "Content-Type: application/json", "Transfer-Encoding: chunked")
            + b"2000\r\n" * 40
            + b"a" * 100_000
        ),
        lambda: _head("GET", "/v1/hello") * rng.randint(50, 500),  # all at once
    ]
    for _ in range(count):
        yield Request("oversized", "", rng.choice(kinds)())


def with_token(data: bytes, token: str) -> bytes:
    """The same request with another Authorization."""
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"authorization:")]
    return b"\r\n".join([*lines, f"Authorization: Bearer {token}".encode()]) + separator + body


def _draw(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    drawn: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def collect(value: Any) -> None:
        drawn.append(value)

    with suppress(Unsatisfiable):  # a route that takes anything has nothing to forbid
        collect()
    return drawn[:count]


def _bytes_of(case: schemathesis.Case[Any]) -> bytes:
    arguments = case.as_transport_kwargs(base_url="https://box")
    asked = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
    try:
        prepared = requests.Request(**{k: v for k, v in arguments.items() if k in asked}).prepare()
    except (ValueError, UnicodeError, requests.RequestException):
        # Such as no library would send: sent all the same.
        return _head(
            case.method.upper(), quote(case.formatted_path, safe="/%"), *_lines(arguments["headers"])
        )
    body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
    return _head(prepared.method or "GET", prepared.path_url, *_lines(dict(prepared.headers))) + body


def _lines(headers: Any) -> list[str]:
    return [f"{_text(name)}: {_text(value)}" for name, value in (headers or {}).items()]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _head(method: str, target: str, *lines: str) -> bytes:
    text = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: box", *lines, "", ""])
    return text.encode("latin-1", errors="replace")
