"""Head office keeps the list of a box's tills, for the box that may take its place one day."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.domain.enrolling import RenewAnswer
from appliance.domain.errors import CloudUnreachable
from appliance.domain.link import Cause
from appliance.domain.pairing import TillRecord, TillRow
from appliance.services.tills import RETRY_S, TillReporter
from appliance.services.wan import WanWatch
from tests.fakes.tasks import running_task
from tests.integration.pairing.conftest import Desk


class Office:
    """Head office, for what a box is. Implements ports.IdentityCloud."""

    def __init__(self) -> None:
        self.heard: list[list[TillRecord]] = []
        self.away = False

    async def renew(self, envelope: bytes) -> RenewAnswer:
        raise NotImplementedError

    async def keep_tills(self, tills: list[TillRecord]) -> None:
        if self.away:
            raise CloudUnreachable(cause=Cause.NO_DNS)
        self.heard.append(tills)


@pytest.fixture
def office() -> Office:
    return Office()


@asynccontextmanager
async def reporting(desk: Desk, office: Office, *, online: bool = True) -> AsyncIterator[WanWatch]:
    wan = WanWatch(desk.clock, random.Random(1))
    if online:
        wan.observe(Cause.OK, 0.02)
    async with running_task(TillReporter(office, desk.desk, wan, desk.clock).run()):
        yield wan


def a_row(till: str) -> TillRow:
    return TillRow(till, f"t-{till}", f"c-{till}", "p" * 43, f"Caisse {till}")


async def test_the_list_is_told_at_start_and_after_each_change(desk: Desk, office: Office) -> None:
    await desk.tills.put(a_row("T1"))
    async with reporting(desk, office):
        await desk.clock.advance(1.0)
        await desk.tills.put(a_row("T2"))
        desk.desk.changed.set()
        await desk.clock.advance(1.0)
        await desk.desk.revoke("T1")
        await desk.clock.advance(3_600.0)

    assert [[record.till for record in records] for records in office.heard] == [["T1"], ["T1", "T2"], ["T2"]]


async def test_what_head_office_did_not_take_is_told_again(desk: Desk, office: Office) -> None:
    office.away = True
    async with reporting(desk, office):
        await desk.clock.advance(RETRY_S * 3)
        office.away = False
        await desk.clock.advance(RETRY_S)

    assert office.heard == [[]]


async def test_without_a_line_nothing_is_tried_until_it_is_there(desk: Desk, office: Office) -> None:
    async with reporting(desk, office, online=False) as wan:
        await desk.clock.advance(600.0)
        assert office.heard == []
        wan.observe(Cause.OK, 0.02)
        await desk.clock.advance(1.0)

    assert office.heard == [[]]
