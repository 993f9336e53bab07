"""The event stream: the same messages however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import Malformed
from till.sse import PENDING_BYTES_MAX, Message, Parser

STREAM = (
    '\ufeff: a comment\r\nevent: mode\r\ndata: {"mode":"local"}\r\n\r\n'
    "event: synced\ndata: one\ndata:two\nid: 7\nretry: 10\n\n"
    "event: nothing\n\n"
    "data\rdata: é\r\r"
).encode()
MESSAGES = [Message("mode", '{"mode":"local"}'), Message("synced", "one\ntwo"), Message("message", "\né")]


def read(chunks: list[bytes]) -> list[Message]:
    parser = Parser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_the_messages_do_not_depend_on_where_the_bytes_are_cut(cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(places)]

    assert read([*chunks, b"\n"]) == MESSAGES


def test_an_unfinished_message_is_not_told() -> None:
    assert read([b"event: mode\ndata: {}\n"]) == []


@pytest.mark.parametrize("chunk", [b"x" * 1_024, b"data: %b\n" % (b"x" * 1_000)])
def test_a_message_without_end_is_cut_off(chunk: bytes) -> None:
    with pytest.raises(Malformed):
        read([chunk] * (PENDING_BYTES_MAX // 1_000 + 2))
