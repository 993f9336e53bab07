"""Who may ask what; and that every refusal is problem+json."""

import base64

import pytest

from tests.integration.cloud.conftest import Enrolled, World

BOX_CALLS = [
    ("POST", "/v1/boxes/{box}/events"),
    ("POST", "/v1/boxes/{box}/probe"),
    ("POST", "/v1/boxes/{box}/heartbeat"),
    ("POST", "/v1/boxes/{box}/operations/deposit"),
    ("GET", "/v1/policy"),
]
TILL_CALLS = [("POST", "/v1/sales"), ("POST", "/v1/operations/deposit")]
SELLER_CALLS = [("GET", "/v1/catalogue/snapshot"), ("GET", "/v1/catalogue/changes?since=0")]
OFFICE_CALLS = [
    ("GET", "/v1/boxes/{box}/epochs"),
    ("GET", "/v1/boxes/{box}/epochs/1/events"),
    ("GET", "/v1/sales"),
    ("GET", "/v1/operations"),
    ("GET", "/v1/exceptions"),
    ("GET", "/v1/fleet"),
    ("GET", "/"),
]


@pytest.mark.parametrize(("method", "path"), BOX_CALLS + TILL_CALLS + SELLER_CALLS + OFFICE_CALLS)
async def test_nobody_gets_in_without_a_token(box: Enrolled, method: str, path: str) -> None:
    for token in (None, "x" * 64, "x" * 3_000):
        answer = await box.world.ask(method, path.format(box=box.box.name), token)

        assert (answer.status, answer.problem) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), OFFICE_CALLS + TILL_CALLS)
async def test_a_box_has_no_business_there(box: Enrolled, method: str, path: str) -> None:
    answer = await box.world.ask(method, path.format(box=box.box.name), box.token)

    assert (answer.status, answer.problem) == (403, "not-allowed")


@pytest.mark.parametrize(("method", "path"), OFFICE_CALLS + BOX_CALLS)
async def test_a_till_has_no_business_there(box: Enrolled, method: str, path: str) -> None:
    answer = await box.world.ask(method, path.format(box=box.box.name), await box.world.till_token())

    assert (answer.status, answer.problem) == (403, "not-allowed")


@pytest.mark.parametrize(("method", "path"), BOX_CALLS + TILL_CALLS + SELLER_CALLS)
async def test_head_office_does_not_play_box_or_till(box: Enrolled, method: str, path: str) -> None:
    answer = await box.world.ask(method, path.format(box=box.box.name), box.world.head_office)

    assert (answer.status, answer.problem) == (403, "not-allowed")


async def test_a_browser_is_asked_for_a_password_and_the_token_is_it(world: World) -> None:
    refused = await world.ask("GET", "/")
    password = base64.b64encode(f"anybody:{world.head_office}".encode()).decode()

    page = await world.ask("GET", "/", headers={"Authorization": f"Basic {password}"})

    assert refused.headers.getall("WWW-Authenticate")[1].startswith("Basic ")
    assert page.status == 200


@pytest.mark.parametrize("header", ["Basic !!!", "Basic bm9jb2xvbg==", "Bearer", "Digest x", ""])
async def test_a_strange_authorization_is_none(world: World, header: str) -> None:
    answer = await world.ask("GET", "/v1/fleet", headers={"Authorization": header})

    assert (answer.status, answer.problem) == (401, "unauthenticated")


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(world: World) -> None:
    assert (await world.ask("GET", "/v2")).problem == "not-found"
    assert (await world.ask("DELETE", "/v1/sales")).problem == "method-not-allowed"
