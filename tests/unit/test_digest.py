"""Content-Digest: a body that was changed on its way is noticed, and one without the header passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.digest import check_digest, digest_of
from appliance.domain.errors import Altered


def test_it_is_the_form_of_the_standard() -> None:
    # RFC 9530, appendix D ("{"hello": "world"}" and a line feed, as in its examples).
    assert digest_of(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


@given(st.binary(max_size=200))
def test_the_body_that_was_sent_passes(body: bytes) -> None:
    check_digest(digest_of(body), body)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_is_noticed(body: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, 8 * len(body) - 1))
    changed = (int.from_bytes(body, "big") ^ 1 << bit).to_bytes(len(body), "big")

    with pytest.raises(Altered):
        check_digest(digest_of(body), changed)


@pytest.mark.parametrize("header", [None, "", "sha-512=:AAAA:", "sha-257=:AAAA:", "sha-256"])
def test_without_a_digest_that_is_known_there_is_nothing_to_check(header: str | None) -> None:
    check_digest(header, b"any")


@pytest.mark.parametrize(
    "header", ["sha-256=:AAAA:", "sha-256=:A:", "sha-256=:::", "sha-512=:AA:, sha-256=:AAAA:"]
)
def test_a_digest_that_is_another_or_cannot_be_read_is_no_proof(header: str) -> None:
    with pytest.raises(Altered):
        check_digest(header, b"any")
