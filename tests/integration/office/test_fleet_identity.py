"""The fleet tells of each box who it is: how long its certificate holds, whether it is revoked, what tills see."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from cloud import tables
from cloud.wiring import open_office
from tests.fakes.authority import FakeAuthority, a_key
from tests.integration.cloud.conftest import Enrolled


async def certify(box: Enrolled, days: int) -> None:
    """As enrolment over TLS leaves it, with so many days left."""
    pem = FakeAuthority().chain(box.box.name, a_key().public_key(), life=timedelta(days=days)).decode()
    async with open_office(box.world.settings, box.world.clock) as office:

        async def work(connection: Any) -> None:
            await connection.execute(update(tables.box).values(certificate=pem))

        await office.database.transaction(work)


async def page(box: Enrolled, language: str) -> str:
    text = (await box.world.read(f"/?lang={language}")).body.decode()
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("days", "fr", "en", "state"),
    [
        (300, "certificat : encore 299 j", "certificate: 299 d", ""),
        (60, "certificat : encore 59 j", "certificate: 59 d", ' class="warn"'),
        (0, "certificat terminé depuis", "certificate ended", ' class="bad"'),
    ],
)
async def test_the_page_tells_how_long_a_certificate_holds(
    box: Enrolled, days: int, fr: str, en: str, state: str
) -> None:
    await certify(box, days)
    await box.world.clock.advance(1)

    assert f"<small{state}>{fr}" in await page(box, "fr")
    assert f"<small{state}>{en}" in await page(box, "en")


async def test_the_page_tells_of_paired_tills_and_of_blocked_multicast(box: Enrolled) -> None:
    await box.beat(tills_paired=3, multicast="blocked")

    text = await page(box, "fr")

    assert "3 caisses appairées" in text
    assert '<small class="warn">multicast bloqué ici' in text


async def test_a_revoked_box_stands_last_and_says_nothing_of_its_line(box: Enrolled) -> None:
    await box.beat()
    other = await box.world.enrolled(shop="S099", name="Brest")
    path = f"{box.path}/revocation"
    await box.world.ask("POST", path, box.world.head_office, json={"reason": "stolen"})

    rows = (await box.world.read("/v1/fleet")).json()
    text = await page(box, "en")

    assert {row["box"]: row["verdict"]["reason"] for row in rows}[box.box.name] == "revoked"
    assert '<small class="bad">revoked on' in text
    assert text.index(other.box.name) < text.index(box.box.name)
    assert '<span class="badge online">' not in text
