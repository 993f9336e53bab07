"""What is stored packed comes out as it went in, in this release and in every later one."""

import hashlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.event import EVENT_BYTES_MAX, GENESIS, ClockReading, Position, digest, seal
from appliance.storage.packing import DICTIONARY_BYTES, Packer, unpack
from tests.fakes.sales import a_sale

READING = ClockReading("synced", "0" * 32, 10**12)

# A body packed by the first release that packed: it must read for ever.
OF_THE_FIRST = bytes.fromhex(
    "0128b52ffd60c7021d05000303092d197c399d4a2acc959422ed454a592f97cbb25a794931792529af215dc3caac5b72d601"
    "38fc7cbf253a596bc8b3091d1f884e60e8e613a0b590b9172bafc59cd64f4438c45c9446556a03d832ccf0a139ecc9a3c64c"
    "41b8fcfda594a106258e26f71bd4bc163ff8a0a573a30b60230c0539938990a30cf602108382b4287c5f57e83e94739dc486"
    "c8eb6c9acc284a47bcf33bf4ac41d3ea8829f2cc86712a66"
)


def an_event(number: int = 1) -> bytes:
    """Of a sale whose ids are its own."""
    sale = a_sale(ticket_number=number, sale_id=f"01900000-0000-7000-8000-{number:012x}")
    data = {"flags": [], "sale": sale}
    at = "2026-11-22T10:00:00.000Z"
    after = Position(1, number, GENESIS)
    return seal(after, box="sb-1", kind="sale", till="till-1", at=at, clock=READING, data=data).body


@given(st.lists(st.binary(max_size=3_000), min_size=1, max_size=40))
def test_what_goes_in_comes_out(bodies: list[bytes]) -> None:
    bodies = [b"{" + body for body in bodies]

    assert [unpack(stored) for stored in Packer().pack(bodies)] == bodies


def test_events_are_a_fraction_of_themselves() -> None:
    bodies = [an_event(number) for number in range(1, 50)]
    packed = Packer().pack(bodies)

    assert sum(map(len, packed)) < 0.35 * sum(map(len, bodies))


def test_the_dictionary_is_the_one_that_journals_were_written_with() -> None:
    assert (
        hashlib.sha256(DICTIONARY_BYTES).hexdigest()
        == "cf47d4a56571db4855ee743eae41baf71f107134a6dc75a0f8ce80fe995acfb3"
    )


def test_a_body_packed_by_the_first_release_reads() -> None:
    assert (
        digest(unpack(OF_THE_FIRST)).hex()
        == "d035267edd6a27f734d442d81d4010573dbef2207b4f72334527c98f4a877307"
    )


def test_what_an_older_release_stored_is_read_as_it_is() -> None:
    assert unpack(b'{"seq":1}') == b'{"seq":1}'


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x01",
        b"\x01nonsense",
        b"\x01" + zstandard.ZstdCompressor().compress(bytes(EVENT_BYTES_MAX + 1)),
        b"\x02a form of a later release",
    ],
)
def test_what_cannot_be_unpacked_comes_back_as_it_is(stored: bytes) -> None:
    assert unpack(stored) == stored
