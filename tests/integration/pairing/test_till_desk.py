"""What a technician does with tills: revokes and renames them."""

import pytest

from appliance.domain.errors import NotFound, Unauthenticated
from appliance.domain.pairing import TillRow
from appliance.services.presence import CONSOLE
from tests.integration.pairing.conftest import LAN, Desk, a_request, known_as


async def test_a_revoked_till_is_known_no_more(desk: Desk) -> None:
    answer = await desk.pairing.pair(a_request(secret=await desk.invited()), LAN)
    assert await known_as(desk, answer) == "T1"

    await desk.desk.revoke("T1")

    with pytest.raises(Unauthenticated):
        await known_as(desk, answer)
    assert desk.kinds()[-1] == "till_revoked"
    with pytest.raises(NotFound):
        await desk.desk.revoke("T1")


async def test_a_till_is_renamed_and_the_boxs_own_name_is_no_till(desk: Desk) -> None:
    await desk.tills.put(TillRow(CONSOLE, "00"))
    await desk.pairing.pair(a_request(secret=await desk.invited()), LAN)

    view = await desk.desk.rename("T1", "Terrasse")

    assert (view.till, view.name, view.last_seen_s) == ("T1", "Terrasse", None)
    assert [row.till for row in desk.desk.views()] == ["T1"]
    assert [record.name for record in desk.desk.records()] == ["Terrasse"]
    for deed in (desk.desk.rename(CONSOLE, "x"), desk.desk.rename("T9", "x"), desk.desk.revoke(CONSOLE)):
        with pytest.raises(NotFound):
            await deed
