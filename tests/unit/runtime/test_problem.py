"""Every error, as problem+json."""

import asyncio
import inspect
import json
import logging
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from appliance.domain import errors
from appliance.domain.event import GENESIS, Position
from appliance.runtime.problem import (
    MEDIA_TYPE,
    RETRY_AFTER_S,
    STATUS,
    problem,
    problem_middleware,
    status_of,
)
from appliance.runtime.serving import listening
from tests.fakes.tasks import until

ERRORS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.StoreboxError)
]


def body_of(response: web.Response) -> dict[str, Any]:
    assert isinstance(response.body, bytes)
    return dict(json.loads(response.body))


# --- errors of the domain


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_an_answer_of_the_documented_form(kind: type[errors.StoreboxError]) -> None:
    response = problem(kind("what happened", hint=7))

    assert 400 <= response.status < 600
    assert response.content_type == MEDIA_TYPE == "application/problem+json"
    assert body_of(response) == {
        "type": f"urn:storebox:problem:{kind.code}",
        "title": kind.title,
        "status": response.status,
        "detail": "what happened",
        "code": kind.code,
        "hint": 7,
    }


def test_every_error_has_a_code_and_a_title_of_its_own() -> None:
    assert len(ERRORS) > 25
    assert len({kind.code for kind in ERRORS}) == len({kind.title for kind in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_without_a_detail_says_its_title(kind: type[errors.StoreboxError]) -> None:
    assert str(kind()) == kind.title
    assert kind().fields == {}


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, str] = {}
    path: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if name in vars(errors):
            depth = line.index(name) // 4
            path[depth] = name
            drawn[name] = path.get(depth - 1, "Exception")

    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in ERRORS if kind.__base__ is not None}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Malformed(), 400),
        (errors.InvalidSale(), 422),
        (errors.TooLarge(), 413),
        (errors.UnsupportedMedia(), 415),
        (errors.Unauthenticated(), 401),
        (errors.WrongTill(), 403),
        (errors.NotFound(), 404),
        (errors.SnapshotRequired(), 410),
        (errors.SaleConflict(), 409),
        (errors.OnlineOnly(), 503),
        (errors.OutcomeUnknown(), 504),
        (errors.OperationRejected(), 422),
        (errors.Busy(), 503),
        (errors.NotReady(), 503),
        (errors.StorageFault(), 503),
        (errors.DiskFull(), 507),
        (errors.Fork(), 409),
        (errors.Gap(), 409),
        (errors.BadEvent(), 400),
        (errors.BadSignature(), 403),
        (errors.CloudUnreachable(), 502),
        (errors.CloudRefused(), 502),
        (errors.ConfigError(), 500),
        (errors.SchemaTooNew(), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_status_of_an_error_is_the_one_in_the_protocol(error: errors.StoreboxError, status: int) -> None:
    assert status_of(error) == status


def test_an_error_still_to_be_invented_answers_like_the_branch_it_stands_on() -> None:
    class Later(errors.Busy):
        code = "later"

    class Elsewhere(errors.StoreboxError):
        code = "elsewhere"

    assert status_of(Later()) == STATUS[errors.CannotAccept]
    assert status_of(Elsewhere()) == HTTPStatus.INTERNAL_SERVER_ERROR


def test_a_field_cannot_pose_as_a_member_of_the_form() -> None:
    told = errors.CloudRefused("no", status=418, type="about:blank", code="mine", problem="gap")

    assert body_of(problem(told)) | {"detail": "no"} == {
        "type": "urn:storebox:problem:cloud-refused",
        "title": "The head office refused",
        "status": 502,
        "detail": "no",
        "code": "cloud-refused",
        "problem": "gap",
    }


def test_a_field_that_json_does_not_know_does_not_hide_the_error() -> None:
    response = problem(errors.Fork("x", at=Position(1, 2, GENESIS), why=ValueError("because")))

    assert body_of(response)["why"] == "because"
    assert body_of(response)["at"]["seq"] == 2


@pytest.mark.parametrize(("after_s", "header"), [(0, "1"), (0.2, "1"), (7, "7"), (7.4, "8"), (90.5, "91")])
def test_a_retry_after_is_whole_seconds_and_never_too_early(after_s: float, header: str) -> None:
    assert problem(errors.CloudUnreachable(retry_after_s=after_s)).headers["Retry-After"] == header


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if issubclass(kind, errors.CannotAccept)])
def test_a_till_that_could_not_hand_in_a_sale_is_always_told_when_to_try_again(
    kind: type[errors.StoreboxError],
) -> None:
    assert problem(kind()).headers["Retry-After"] == str(RETRY_AFTER_S)
    assert problem(kind(retry_after_s=9)).headers["Retry-After"] == "9"


def test_others_are_not_invited_to_try_again() -> None:
    assert "Retry-After" not in problem(errors.SaleConflict()).headers
    assert "Retry-After" not in problem(errors.CloudUnreachable()).headers


def test_who_is_not_known_is_told_how_to_show_a_token() -> None:
    assert problem(errors.Unauthenticated()).headers["WWW-Authenticate"] == "Bearer"
    assert "WWW-Authenticate" not in problem(errors.WrongTill()).headers


# --- over HTTP


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def busy(request: web.Request) -> web.Response:
    raise errors.Busy("the queue is full")


async def bug(request: web.Request) -> web.Response:
    raise RuntimeError("secret: the inside")


async def moved(request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"the first half")
    raise errors.StorageFault


@pytest.fixture
def app() -> web.Application:
    app = web.Application(middlewares=[problem_middleware], client_max_size=1_000)
    app.router.add_post("/echo", echo)
    for handler in (busy, bug, moved, breaks_off):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


async def asked(client: Any, method: str, path: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    response = await client.request(method, path, **more)
    assert response.content_type == MEDIA_TYPE
    body = await response.json(content_type=None)
    assert body["status"] == response.status
    assert {"type", "title", "detail", "code"} <= set(body)
    return response, body


async def test_what_a_handler_answers_is_left_alone(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app)
    response = await client.post("/echo", data=b"hello")

    assert (response.status, await response.read()) == (200, b"hello")
    redirected = await client.get("/moved", allow_redirects=False)
    assert (redirected.status, redirected.headers["Location"]) == (302, "/elsewhere")


async def test_an_error_of_a_handler_is_answered(app: web.Application, aiohttp_client: AiohttpClient) -> None:
    response, body = await asked(await aiohttp_client(app), "GET", "/busy")

    assert (response.status, body["code"], body["detail"]) == (503, "busy", "the queue is full")


async def test_a_bug_is_logged_and_answered_without_its_inside(
    app: web.Application, aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    response, body = await asked(await aiohttp_client(app), "GET", "/bug")

    assert (response.status, body["code"]) == (500, "internal")
    assert "secret" not in await response.text()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (record.message, vars(record)["path"]) == ("request.failed", "/bug")
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


async def test_an_unknown_path_is_a_problem_too(app: web.Application, aiohttp_client: AiohttpClient) -> None:
    _, body = await asked(await aiohttp_client(app), "GET", "/nowhere")

    assert (body["status"], body["code"]) == (404, errors.NotFound.code)


async def test_a_method_that_is_not_allowed_comes_with_those_that_are(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    response, body = await asked(await aiohttp_client(app), "DELETE", "/echo")

    assert (body["status"], body["code"]) == (405, "method-not-allowed")
    assert response.headers["Allow"] == "POST"


async def test_a_body_over_the_limit_is_a_problem_too(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app)

    assert (await client.post("/echo", data=b"x" * 1_000)).status == 200
    _, body = await asked(client, "POST", "/echo", data=b"x" * 1_001)
    assert (body["status"], body["code"]) == (413, errors.TooLarge.code)


async def test_an_answer_that_has_begun_is_cut_and_never_continued_with_an_error(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET /breaks_off HTTP/1.1\r\nHost: box\r\n\r\n")
    received = await reader.read()
    writer.close()

    assert received.startswith(b"HTTP/1.1 200")
    # The last chunk, which would say "this is all", never comes.
    assert received.endswith(b"\r\n\r\ne\r\nthe first half\r\n")


async def test_who_hangs_up_in_the_middle_of_a_request_is_no_bug(
    app: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with listening(app, "127.0.0.1", 0) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /echo HTTP/1.1\r\nHost: box\r\nContent-Length: 100\r\n\r\nhalf of")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            await until(lambda: any(record.message == "request.abandoned" for record in caplog.records))

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
