"""The head office of the figures takes nothing on trust: else its speed would be no measure."""

import random

import pytest

from appliance.domain.batch import pack
from appliance.domain.dsse import Signer
from appliance.domain.errors import ChainFault
from appliance.domain.event import GENESIS, ClockReading, Position, Sealed, seal
from appliance.domain.statements import HEAD_TYPE, Head, sign
from bench.headoffice import receipt_for
from tests.fakes.journals import SIGNER
from tests.fakes.sales import a_trading_day


def a_chain(count: int) -> list[Sealed]:
    end, chain = Position(1, 0, GENESIS), []
    for sale in a_trading_day(random.Random(1), count):
        sealed = seal(
            end, box="sb-1", kind="sale", till="t", at="", clock=ClockReading("synced", "b", 1), data=sale
        )
        end = Position(1, sealed.link.seq, sealed.hash)
        chain.append(sealed)
    return chain


def a_head(signer: Signer, last: Sealed) -> bytes:
    return sign(signer, HEAD_TYPE, Head("sb-1", 1, last.link.seq, last.hash.hex()))


def test_a_whole_batch_is_receipted_at_its_head() -> None:
    chain = a_chain(20)
    packed = pack(a_head(SIGNER, chain[-1]), [sealed.body for sealed in chain])

    receipt = receipt_for(packed, "sb-1", "00", "now")

    assert (receipt.seq, receipt.head) == (20, chain[-1].hash.hex())


def test_a_batch_that_lacks_one_is_not() -> None:
    chain = a_chain(20)
    packed = pack(a_head(SIGNER, chain[-1]), [sealed.body for sealed in chain if sealed.link.seq != 7])

    with pytest.raises(ChainFault):
        receipt_for(packed, "sb-1", "00", "now")


def test_a_head_of_another_event_is_not() -> None:
    chain = a_chain(3)
    packed = pack(a_head(SIGNER, chain[0]), [sealed.body for sealed in chain])

    with pytest.raises(AssertionError):
        receipt_for(packed, "sb-1", "00", "now")
