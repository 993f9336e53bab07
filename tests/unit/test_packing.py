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
    "0128b52ffd60c702550600f40231312d32325431303a30303a30302e3030305430383a33303a34736f636b732d3431313037"
    "373774696c6c3833387d39207002894668ec3c6b6f70731c20424982906f82750817b60b7603870ab0284b00b50a447cee8c"
    "db47ab3480de65a0728069658121940d039b0788ef1e480eb0e3226227c33f23a8b50d4c030df62007dc0728ed3d5c0c607f"
    "07ea8718323140200b3b7d5dde98adb72330400140612963b711457fa04d3180428d1718d10516e116501c2cca0e482d980b"
    "01a82284f874011db16b6e5b01"
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
        == "13dba188d878e77f759ad35ceeef76886fc64ab79ff42e3d6c129c7d6a731983"
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
