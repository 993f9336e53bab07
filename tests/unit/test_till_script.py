"""Scripts: what a step may say, and how lines are read."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import Malformed
from till.script import LINE_BYTES_MAX, LineReader, Step, read_step
from till.tickets import Basket, Item


def test_a_step_sells_a_basket() -> None:
    step = read_step(b'{"after_s": 1.25, "basket": {"lines": [{"article_id": "milk", "quantity": "2"}]}}')

    assert step == Step(1.25, basket=Basket([Item("milk", "2")]))


def test_a_step_asks_for_an_operation() -> None:
    step = read_step(b'{"after_s": 3, "operation": "transfer", "data": {"to": "shop-2"}}')

    assert step == Step(3.0, operation="transfer", data={"to": "shop-2"})


def test_what_a_step_says_it_reads_again() -> None:
    step = Step(1.5, basket=Basket([Item("milk", line_type="return", quantity="-1")]))

    assert read_step(msgspec.json.encode(step)) == step


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"{}",
        b"\xff",
        b'{"after_s": -1, "operation": "transfer"}',
        b'{"operation": "Transfer"}',
        b'{"basket": {"lines": []}}',
        b'{"basket": {"lines": [{"article_id": "milk", "quantity": "1e3"}]}}',
        b'{"basket": {"lines": [{"article_id": "milk"}]}, "operation": "transfer"}',
        b'{"operation": "transfer", "when": 1}',
        b"[" * 100_000,
    ],
)
def test_any_other_line_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        read_step(line)


async def read(descriptor: int) -> list[bytes]:
    return [line async for line in LineReader(descriptor).lines()]


async def test_the_lines_of_a_file_come_in_order_however_many(tmp_path: Path) -> None:
    lines = [b"line %d" % number for number in range(1_000)]
    (tmp_path / "script").write_bytes(b"\n".join(lines))
    with (tmp_path / "script").open("rb") as file:
        assert await read(file.fileno()) == lines


async def test_the_lines_of_a_pipe_come_as_they_are_written() -> None:
    read_end, write_end = os.pipe()
    lines = LineReader(read_end).lines()
    os.write(write_end, b"one\ntw")
    assert await anext(lines) == b"one"
    os.write(write_end, b"o\n")
    assert await anext(lines) == b"two"
    os.close(write_end)
    assert await anext(lines, None) is None
    os.close(read_end)


async def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"x" * (2 * LINE_BYTES_MAX + 200_000))
    with (tmp_path / "script").open("rb") as file:
        lines = await asyncio.wait_for(read(file.fileno()), 10)

    assert len(lines) == 3
    assert max(map(len, lines)) < LINE_BYTES_MAX + 100_000
