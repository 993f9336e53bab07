"""A till of the box before this one comes in by the key that it was known by."""

import pytest

from appliance.domain.errors import PairingClosed, PairingRefused
from appliance.domain.pairing import TillRecord
from appliance.runtime.certificates import key_spki
from tests.fakes.authority import a_key
from tests.integration.pairing.conftest import LAN, Desk, a_request, known_as


async def test_a_till_of_the_box_before_comes_in_by_its_key_until_it_has_used_its_token(desk: Desk) -> None:
    key = a_key()
    await desk.tills.inherit([TillRecord("T1", "Caisse 1", key_spki(key))])
    request = a_request("T1", key=key)

    await desk.pairing.pair(request, LAN)
    again = await desk.pairing.pair(request, LAN)
    assert await known_as(desk, again) == "T1"

    with pytest.raises(PairingClosed):
        await desk.pairing.pair(request, LAN)
    assert [(view.till, view.name, view.by) for view in desk.desk.views()] == [
        ("T1", "Caisse 1", "succession")
    ]
    assert desk.kinds() == ["till_paired"]


async def test_without_a_secret_neither_another_key_nor_another_name_comes_in(desk: Desk) -> None:
    key = a_key()
    await desk.tills.inherit([TillRecord("T1", "", key_spki(key))])

    for request in (a_request("T1"), a_request("T2", key=key)):
        with pytest.raises(PairingClosed):
            await desk.pairing.pair(request, LAN)
    await desk.invited()
    with pytest.raises(PairingRefused):
        await desk.pairing.pair(a_request("T1"), LAN)


async def test_an_inherited_till_that_was_revoked_does_not_come_back_with_the_next_start(desk: Desk) -> None:
    records = [TillRecord("T1", "", key_spki(a_key())), TillRecord("T2", "", key_spki(a_key()))]
    await desk.tills.inherit(records)
    await desk.desk.revoke("T1")

    await desk.tills.inherit(records)

    assert [view.till for view in desk.desk.views()] == ["T2"]
