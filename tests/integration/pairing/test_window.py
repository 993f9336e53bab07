"""The pairing window: who is let in, by what, for how long and how often."""

import asyncio
from pathlib import Path

import pytest

from appliance.domain.errors import (
    DiskFull,
    Malformed,
    NotAllowed,
    PairingClosed,
    PairingRefused,
    Unauthenticated,
)
from appliance.domain.pairing import TILLS_MAX, PairAnswer, PairRequest, TillRow, read_payload
from appliance.domain.wire import PairingOrder
from appliance.runtime.certificates import csr
from appliance.services.pairing import TRIES
from appliance.services.presence import CONSOLE
from tests.fakes.authority import a_key
from tests.integration.pairing.conftest import LAN, Desk, a_desk, a_request, known_as


async def test_a_secret_lets_one_till_in_and_its_token_is_good_with_its_key_alone(desk: Desk) -> None:
    secret = await desk.invited()

    answer = await desk.pairing.pair(a_request(secret=secret, name="Caisse 1"), LAN)

    assert await known_as(desk, answer) == "T1"
    for certificate in (None, "0" * 64):
        with pytest.raises(Unauthenticated):
            await desk.presence.identify(f"Bearer {answer.token}", certificate, LAN)
    assert desk.journal.recorded[-1] == ("till_paired", {"name": "Caisse 1", "by": "technician"}, "T1")
    assert (answer.box, answer.till, answer.port) == (desk.identity.box, "T1", 8480)
    assert answer.addresses == ["192.168.1.20:8480", "[fd00::7]:8480"]


async def test_the_code_says_which_box_where_and_what_to_pin(desk: Desk) -> None:
    view = await desk.pairing.open(10)

    said = read_payload(view.payload)

    assert (said.box, said.spki, said.fp) == (
        desk.identity.box,
        desk.identity.spki,
        desk.identity.signer.key_id,
    )
    assert said.addresses == ["192.168.1.20:8480", "[fd00::7]:8480"]
    assert (view.expires_s, view.tries_left) == (600.0, TRIES)


async def test_a_secret_that_was_used_lets_nobody_else_in_and_the_next_code_is_another(desk: Desk) -> None:
    secret = await desk.invited()
    await desk.pairing.pair(a_request("T1", secret), LAN)

    with pytest.raises(PairingRefused):
        await desk.pairing.pair(a_request("T2", secret), LAN)

    assert (await desk.pairing.pair(a_request("T2", desk.secret), LAN)).till == "T2"


async def test_two_tills_with_one_secret_at_once_do_not_both_come_in(desk: Desk) -> None:
    secret = await desk.invited()

    outcomes = await asyncio.gather(
        *(desk.pairing.pair(a_request(till, secret), LAN) for till in ("T1", "T2", "T3")),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, PairAnswer) for outcome in outcomes) == 1
    assert len(desk.desk.views()) == 1


async def test_the_window_closes_by_itself(desk: Desk) -> None:
    secret = await desk.invited(minutes=10)
    await desk.clock.advance(600.0)

    assert desk.pairing.view() is None
    assert not desk.pairing.hello().pairing
    with pytest.raises(PairingClosed):
        await desk.pairing.pair(a_request(secret=secret), LAN)


async def test_a_technician_closes_it_and_opens_it_anew_with_another_secret(desk: Desk) -> None:
    secret = await desk.invited()
    desk.pairing.close()
    with pytest.raises(PairingClosed):
        await desk.pairing.pair(a_request(secret=secret), LAN)

    assert await desk.invited() != secret
    assert desk.pairing.hello().pairing


async def test_the_fifth_wrong_try_makes_another_secret_and_is_recorded(desk: Desk) -> None:
    secret = await desk.invited()
    left = []
    for number in range(TRIES):
        with pytest.raises(PairingRefused) as refused:
            await desk.pairing.pair(a_request(secret=f"wrong-{number}"), LAN)
        left.append(refused.value.fields["tries_left"])

    assert left == [4, 3, 2, 1, 0]
    assert desk.journal.recorded[-1] == ("pairing_refused", {"address": LAN}, None)
    assert desk.secret != secret
    with pytest.raises(PairingRefused):
        await desk.pairing.pair(a_request(secret=secret), LAN)


async def test_no_secret_and_no_token_is_in_what_is_recorded(desk: Desk) -> None:
    secret = await desk.invited()
    answer = await desk.pairing.pair(a_request(secret=secret), LAN)

    told = repr(desk.journal.recorded) + (await asyncio.to_thread((desk.tills._path).read_text))
    assert secret not in told
    assert answer.token not in told


async def test_a_lost_answer_is_given_again_until_the_token_was_used(desk: Desk) -> None:
    key, secret = a_key(), await desk.invited()
    request = a_request("T1", secret, key=key)
    first = await desk.pairing.pair(request, LAN)

    again = await desk.pairing.pair(request, LAN)

    assert again.certificate == first.certificate
    assert await known_as(desk, again) == "T1"
    with pytest.raises(Unauthenticated):
        await known_as(desk, first)
    assert desk.kinds().count("till_paired") == 1
    with pytest.raises(PairingRefused):
        await desk.pairing.pair(request, LAN)


async def test_a_lost_answer_is_not_given_to_another_key_or_in_another_name(desk: Desk) -> None:
    key, secret = a_key(), await desk.invited()
    await desk.pairing.pair(a_request("T1", secret, key=key), LAN)

    for request in (a_request("T1", secret), a_request("T2", secret, key=key)):
        with pytest.raises(PairingRefused):
            await desk.pairing.pair(request, LAN)


async def test_pairing_anew_ends_the_tokens_of_before(desk: Desk) -> None:
    first = await desk.pairing.pair(a_request("T1", await desk.invited()), LAN)

    second = await desk.pairing.pair(a_request("T1", desk.secret), LAN)

    assert await known_as(desk, second) == "T1"
    with pytest.raises(Unauthenticated):
        await known_as(desk, first)


async def test_a_request_that_its_key_has_not_signed_is_malformed_and_costs_nothing(desk: Desk) -> None:
    secret = await desk.invited()

    for bad in ("", "no PEM", csr(a_key(), "T1").replace("M", "N", 9)):
        with pytest.raises(Malformed):
            await desk.pairing.pair(PairRequest(bad, "T1", secret), LAN)

    assert desk.secret == secret


async def test_nobody_comes_in_under_the_boxs_own_name(desk: Desk) -> None:
    with pytest.raises(NotAllowed):
        await desk.pairing.pair(a_request(CONSOLE, await desk.invited()), LAN)


async def test_no_more_tills_come_in_than_there_is_room_for(desk: Desk) -> None:
    for number in range(TILLS_MAX):
        desk.tills._rows[f"X{number}"] = TillRow(f"X{number}")

    with pytest.raises(NotAllowed, match="revoke"):
        await desk.pairing.pair(a_request("T1", await desk.invited()), LAN)


async def test_a_journal_that_takes_nothing_lets_nobody_in_and_spends_nothing(desk: Desk) -> None:
    secret = await desk.invited()
    desk.journal.failure = DiskFull()
    with pytest.raises(DiskFull):
        await desk.pairing.pair(a_request(secret=secret), LAN)
    assert desk.desk.views() == []

    desk.journal.failure = None
    assert (await desk.pairing.pair(a_request(secret=secret), LAN)).till == "T1"


async def test_without_tls_nobody_pairs(tmp_path: Path) -> None:
    desk = await a_desk(tmp_path, tls=False)

    with pytest.raises(NotAllowed):
        await desk.pairing.open(10)
    with pytest.raises(NotAllowed):
        await desk.pairing.pair(a_request(), LAN)


# --- by order of head office


async def test_head_office_opens_the_window_with_its_secret_once(desk: Desk) -> None:
    order = PairingOrder("o-1", "s" * 22, 600.0)
    task = asyncio.create_task(desk.pairing.run())
    desk.pairing.ordered(order)
    desk.pairing.ordered(order)
    await desk.clock.run_until(lambda: desk.pairing.view() is not None)

    await desk.pairing.pair(a_request("T1", order.secret), LAN)
    desk.pairing.ordered(order)
    await desk.clock.advance(1.0)

    assert desk.secret != order.secret
    assert desk.kinds() == ["pairing_opened", "till_paired"]
    task.cancel()


async def test_an_order_by_which_a_till_came_in_is_spent_after_a_restart_too(desk: Desk) -> None:
    order = PairingOrder("o-1", "s" * 22, 600.0)
    await desk.tills.put(TillRow("T1", "00", "00", "p" * 43, by="head-office o-1"))
    task = asyncio.create_task(desk.pairing.run())

    desk.pairing.ordered(order)
    await desk.clock.run_until(lambda: desk.pairing.view() is not None)

    assert desk.secret != order.secret
    task.cancel()
