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
    "0128b52ffd60c702b50500a3430b211f96f4e8c1a30eebd183471d2bd828d061507152559b246db55cd6091d534056a00323"
    "7511ae397eabb2391e3afccbf7051ecfab90379302f13d1faccbe69ccad98fd6964a4b67ff210cbc102d9051f5451ad74ccc"
    "4d8977f0e70815b5879cca98e1e7cf49c57068367a23e4cf5b4afa063c71a5363a3745406e2f4ba4bec4ee78c17f55aaecea"
    "2478b7ab2a749eb37db60987f3fa37decbbeeb63a78b0c7f69f87ed9cd261284f18c57e44f4dbb2db85b03"
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
        == "8faa678674df4d38f62e11d4039052b35b9f14445764bc1ae9733710a7d2be24"
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
