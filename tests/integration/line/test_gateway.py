"""Answers that settle nothing: to another question, or that only say that the question came out garbled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from appliance.domain.errors import CloudRefused, CloudUnreachable, OutcomeUnknown
from appliance.domain.link import Cause
from appliance.domain.wire import OperationRequest
from appliance.gateways.cloud import CloudGateway, open_cloud
from appliance.runtime.serving import listening
from tests.fakes.clock import FakeClock
from tests.fakes.journals import BOX, KEYS
from tests.fakes.sales import a_sale_id
from tests.integration.line.conftest import PATIENCE

AT = "2026-11-22T08:30:00.000Z"


@asynccontextmanager
async def answering(response: web.Response, samples: list[Cause]) -> AsyncIterator[CloudGateway]:
    """The gateway to a head office that gives this answer to everything."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return response

    def observe(cause: Cause, took_s: float, *, bulk: bool = False) -> None:
        samples.append(cause)

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answer)
    async with (
        listening(app, "127.0.0.1", 0) as port,
        open_cloud(
            f"http://127.0.0.1:{port}",
            token="any",
            box=BOX,
            keys=KEYS,
            clock=FakeClock(),
            observe=observe,
            patience=PATIENCE,
        ) as gateway,
    ):
        yield gateway


def a_problem(status: int, code: str) -> web.Response:
    body = {"type": "about:blank", "title": code, "status": status, "detail": "", "code": code}
    return web.json_response(body, status=status, content_type="application/problem+json")


@pytest.mark.parametrize("wrong", ["operation_id", "operation"])
async def test_an_answer_about_another_operation_leaves_the_outcome_open(wrong: str) -> None:
    request = OperationRequest(a_sale_id())
    answer = {"operation_id": request.operation_id, "operation": "deposit", "at": AT, wrong: a_sale_id()}

    samples: list[Cause] = []
    async with answering(web.json_response(answer, status=201), samples) as gateway:
        with pytest.raises(OutcomeUnknown):
            await gateway.operation("deposit", request)

    assert samples == [Cause.CAPTIVE_PORTAL]


@pytest.mark.parametrize("body", [b'{"\xb6": 1}', b"[" * 50_000, b'{"operation_id": 1}', b""])
@pytest.mark.parametrize(("status", "media"), [(201, "application/json"), (422, "application/problem+json")])
async def test_an_answer_that_nobody_can_read_leaves_the_outcome_open(
    body: bytes, status: int, media: str
) -> None:
    response = web.Response(body=body, status=status, content_type=media)

    async with answering(response, []) as gateway:
        with pytest.raises((OutcomeUnknown, CloudRefused)) as told:
            await gateway.operation("deposit", OperationRequest(a_sale_id()))

    assert told.type is OutcomeUnknown or (status, body) == (422, b'{"operation_id": 1}')


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "altered"), (400, "malformed"), (404, "not-found"), (405, "method-not-allowed"), (415, "other")],
)
async def test_a_question_that_came_out_garbled_is_asked_again_and_says_nothing_against_the_line(
    status: int, code: str
) -> None:
    samples: list[Cause] = []
    async with answering(a_problem(status, code), samples) as gateway:
        with pytest.raises(CloudUnreachable):
            await gateway.send_batch(b"batch", "0" * 32)

    assert samples == [Cause.OK]


@pytest.mark.parametrize(("status", "code"), [(409, "fork"), (409, "gap"), (403, "bad-signature")])
async def test_a_no_of_head_office_is_told_as_one(status: int, code: str) -> None:
    async with answering(a_problem(status, code), []) as gateway:
        with pytest.raises(CloudRefused) as refusal:
            await gateway.send_batch(b"batch", "0" * 32)

    assert refusal.value.fields["problem"] == code
