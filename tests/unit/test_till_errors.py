"""What a refusal means for what was asked: the end of it, or a reason to ask again."""

import pytest

from till.errors import Refused


@pytest.mark.parametrize("code", ["bad-input", "altered", "not-found"])
def test_what_was_garbled_on_its_way_is_asked_again(code: str) -> None:
    assert not Refused(404 if code == "not-found" else 400, code, {}).final


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "malformed"), (400, "invalid-sale"), (409, "sale-conflict"), (413, "too-large")],
)
def test_what_is_wrong_itself_is_not_asked_again(status: int, code: str) -> None:
    assert Refused(status, code, {}).final
