"""The messages between till, box and cloud."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from appliance.domain import (
    catalogue,
    dsse,
    enrolling,
    gate,
    health,
    keychain,
    pairing,
    sale,
    statements,
    update,
    wire,
)
from tests.fakes.sales import a_sale

PROTOCOL = Path(__file__).parents[2] / "docs" / "PROTOCOL.md"
OPERATION = {"operation_id": "019aa8f0-0000-7000-8000-000000000001"}


def types_of(*modules: ModuleType) -> set[str]:
    return {
        name
        for m in modules
        for name, value in vars(m).items()
        if isinstance(value, type) and value.__module__ == m.__name__
    }


def test_every_type_that_the_protocol_names_exists() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", PROTOCOL.read_text()))

    assert {"Ack", "Sale", "Receipt", "Heartbeat"} <= named
    assert named <= types_of(
        catalogue, dsse, enrolling, gate, health, keychain, pairing, sale, statements, update, wire
    )


def test_every_message_is_frozen_and_says_what_it_is() -> None:
    messages = [t for t in vars(wire).values() if isinstance(t, type) and issubclass(t, msgspec.Struct)]

    assert len(messages) > 15
    assert all(message.__struct_config__.frozen and message.__doc__ for message in messages)


def test_an_ack_carries_the_signed_head_verbatim() -> None:
    head = b'{"payload":"e30=","payloadType":"t","signatures":[]}'
    ack = wire.Ack(a_sale().sale_id, "sb-1", 1, 2, "ab", "2026-11-22T08:30:00.000Z", [], msgspec.Raw(head))
    body = msgspec.json.encode(ack)

    assert head in body
    assert bytes(msgspec.json.decode(body, type=wire.Ack).head) == head
    assert msgspec.json.decode(body)["status"] == "accepted"


def test_a_sale_looked_up_reads_back() -> None:
    looked_up = a_sale()
    ack = wire.Ack(looked_up.sale_id, "sb-1", 1, 2, "ab", "", [], msgspec.Raw(b"{}"))
    body = msgspec.json.encode(wire.SaleView(ack, synced=True, sale=looked_up))

    assert msgspec.json.decode(body, type=wire.SaleView).sale == looked_up


@pytest.mark.parametrize("nonce", ["", "0" * 31, "0" * 33, "0" * 32 + "\n", "A" * 32, "g" * 32])
def test_a_nonce_is_128_bits_in_lower_case_hex(nonce: str) -> None:
    msgspec.convert({"nonce": "0f" * 16}, wire.ProbeRequest)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"nonce": nonce}, wire.ProbeRequest)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (wire.OperationRequest, OPERATION | {"later": 1}),
        (wire.OperationRequest, {"operation_id": "1"}),
        (wire.OperationRequest, OPERATION | {"data": []}),
        (wire.ProbeRequest, {"nonce": "0" * 32, "later": 1}),
    ],
)
def test_a_request_with_an_unknown_missing_or_bad_field_is_refused(kind: type, body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(body), type=kind)


def test_an_operation_without_data_is_asked_for_with_none() -> None:
    first, second = (msgspec.convert(OPERATION, wire.OperationRequest) for _ in range(2))

    assert first.data == {}
    assert first.data is not second.data


def test_a_reader_of_today_understands_an_answer_of_tomorrow() -> None:
    answer = msgspec.json.encode({"next_s": 30.0, "catalogue_version": 1, "policy_version": 1, "later": [1]})

    assert msgspec.json.decode(answer, type=wire.HeartbeatAnswer).next_s == 30
