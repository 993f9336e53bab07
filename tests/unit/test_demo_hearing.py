"""What is made of a till's lines: counts, moments, evidence, and news that people can read."""

from pathlib import Path
from typing import Any

import pytest

from appliance.domain.link import Cause
from demo.hearing import Hearing, cause_in_words, read_told, transcript
from demo.outages import Proposal
from tests.fakes.clock import FakeClock
from tests.fakes.sales import a_sale_id


def sold(sale_id: str, status: str, way: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "event": "sold",
        "sale_id": sale_id,
        "ticket_number": 7,
        "status": status,
        "way": way,
        "mode": "cloud",
        "took_ms": 12.5,
        "total_minor": 100,
        "currency": "EUR",
        **more,
    }


def delivered(sale_id: str, way: str = "box") -> dict[str, Any]:
    return {"event": "delivered", "sale_id": sale_id, "ticket_number": 7, "status": "accepted", "way": way}


def refused(**more: Any) -> dict[str, Any]:
    return {"event": "refused", "code": "online-only", "sentence": "No deposits while offline.", **more}


def proposal(mode: str) -> dict[str, Any]:
    return {
        "event": "proposal",
        "mode": mode,
        "link": "offline",
        "cause": "no-answer",
        "changed_at": "2026-11-22",
    }


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def hearing(tmp_path: Path, clock: FakeClock) -> Hearing:
    return Hearing(["T1", "T2"], tmp_path, clock)


def test_sales_are_counted_by_till_and_way(hearing: Hearing) -> None:
    hearing.hear("T1", sold(a_sale_id(), "synced", "cloud"))
    hearing.hear("T1", sold(a_sale_id(), "accepted", "box"))
    hearing.hear("T2", sold(a_sale_id(), "accepted", "box"))

    assert (hearing.tills["T1"].by_cloud, hearing.tills["T1"].by_box) == (1, 1)
    assert hearing.tills["T2"].by_box == 1
    assert hearing.accepted == 3


def test_a_kept_ticket_counts_as_accepted_only_once_it_found_its_way(hearing: Hearing) -> None:
    sale_id = a_sale_id()

    hearing.hear("T1", sold(sale_id, "pending", code="no-answer"))
    assert (hearing.accepted, hearing.tills["T1"].kept) == (0, {sale_id})

    hearing.hear("T1", delivered(sale_id))
    assert (hearing.accepted, hearing.tills["T1"].kept) == (1, set())


async def test_moments_count_from_the_beginning_of_selling(hearing: Hearing, clock: FakeClock) -> None:
    hearing.hear("T1", proposal("local"))
    await clock.advance(10.0)
    hearing.begin()
    await clock.advance(2.0)
    hearing.hear("T2", proposal("cloud"))

    assert hearing.proposals == [Proposal(0.0, "T1", "local"), Proposal(2.0, "T2", "cloud")]


def test_operations_are_noted_with_their_fate(hearing: Hearing) -> None:
    hearing.hear(
        "T1", {"event": "passed", "operation": "transfer", "operation_id": "1", "way": "box", "took_ms": 1.0}
    )
    hearing.hear("T1", refused(operation="deposit"))
    hearing.hear("T1", refused(operation="deposit", sale_id=a_sale_id(), ticket_number=3))

    assert [operation.passed for operation in hearing.operations] == [True, False, False]


def test_a_sale_refused_for_itself_is_no_operation(hearing: Hearing) -> None:
    hearing.hear("T1", refused(sale_id=a_sale_id(), ticket_number=3))

    assert hearing.operations == []
    assert hearing.tills["T1"].refused == 1


def test_refusals_do_not_push_other_news_out(hearing: Hearing) -> None:
    hearing.hear("T1", proposal("local"))
    for _ in range(100):
        hearing.hear("T1", refused(operation="deposit"))
        hearing.hear("T2", refused(operation="deposit"))

    assert [news.who for news in hearing.news] == ["T1", "T1", "T2"]
    assert "local mode: head office gives no answer" in hearing.news[0].text


def test_what_a_later_till_tells_is_passed_over(hearing: Hearing) -> None:
    hearing.hear("T1", {"event": "sang", "song": "la"})

    assert not hearing.news


def test_the_transcript_is_evidence_over_all_runs(hearing: Hearing, tmp_path: Path, clock: FakeClock) -> None:
    straight, kept, lost, open_ = a_sale_id(), a_sale_id(), a_sale_id(), a_sale_id()
    for line in (
        sold(straight, "synced", "cloud"),
        sold(kept, "pending"),
        delivered(kept),
        sold(lost, "accepted", "box"),
        {"event": "lost", "sale_id": lost, "ticket_number": 7, "epoch": 1, "seq": 2},
    ):
        hearing.hear("T1", line)
    Hearing(["T1", "T2"], tmp_path, clock).hear("T2", sold(open_, "pending"))

    told = read_told(tmp_path, ["T1", "T2"])

    assert told.accepted == {straight, kept, lost}
    assert told.late == {kept, lost, open_}


def test_a_transcript_that_was_cut_short_still_counts(hearing: Hearing, tmp_path: Path) -> None:
    sale_id = a_sale_id()
    hearing.hear("T1", sold(sale_id, "synced", "cloud"))
    with transcript(tmp_path, "T1").open("ab") as file:
        file.write(b'{"event":"so')

    assert read_told(tmp_path, ["T1"]).accepted == {sale_id}


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_words(cause: Cause) -> None:
    assert cause_in_words(cause.value) != cause.value
