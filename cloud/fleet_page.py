"""The fleet for people: each box as the sentences and figures of one row."""

import msgspec

from appliance.domain.health import Grade, Heartbeat
from cloud import words
from cloud.fleet import BoxHealth
from cloud.words import Language

# Worst first: what needs a person stands at the top.
_ORDER = (Grade.UNHEALTHY, Grade.WARNING, Grade.UNKNOWN, Grade.HEALTHY)


class Row(msgspec.Struct, frozen=True):
    """What the page shows of one box; texts are ready to print, an empty one is left out."""

    box: str
    shop: str
    shop_name: str
    grade: str
    grade_word: str
    reason: str
    exceptions: str
    flags: str
    line: str
    line_state: str
    cause: str
    mode: str
    heard: str
    backlog: int | None
    oldest: str
    epoch: str
    cloud_seq: int
    box_seq: int | None
    catalogue: int | None
    software: str


class Count(msgspec.Struct, frozen=True):
    """How many boxes are of a grade."""

    grade: str
    word: str
    boxes: int


def rows(fleet: list[BoxHealth], language: Language) -> list[Row]:
    """The rows of the page, worst first, then by shop."""
    ordered = sorted(fleet, key=lambda box: (_ORDER.index(box.verdict.grade), box.shop, box.box))
    return [_row(box, language) for box in ordered]


def counts(fleet: list[BoxHealth], language: Language) -> list[Count]:
    """How many boxes are of each grade that occurs, worst first."""
    labels = words.LABELS[language]
    found = [Count(g.value, labels[g.value], sum(b.verdict.grade is g for b in fleet)) for g in _ORDER]
    return [count for count in found if count.boxes]


def _row(box: BoxHealth, language: Language) -> Row:
    labels = words.LABELS[language]
    beat = box.beat
    last = box.epochs[-1] if box.epochs else None
    number = beat.epoch if beat is not None else (last.epoch if last else None)
    held = next((epoch.seq for epoch in box.epochs if epoch.epoch == number), 0)
    return Row(
        box=box.box,
        shop=box.shop,
        shop_name=box.shop_name,
        grade=box.verdict.grade.value,
        grade_word=labels[box.verdict.grade.value],
        reason=words.REASONS[language].get(box.verdict.reason, box.verdict.reason),
        exceptions=_exceptions(box.exceptions, labels),
        flags=_flags(beat, language),
        line=labels.get(beat.link, beat.link) if beat else "",
        line_state=beat.link if beat and beat.link in ("online", "degraded", "offline") else "unknown",
        cause=words.CAUSES[language].get(beat.cause, "") if beat else "",
        mode=labels.get(f"mode_{beat.mode}", "") if beat else "",
        heard=labels["never"]
        if beat is None
        else labels["ago"].format(age=words.age(box.silent_s, language)),
        backlog=beat.backlog if beat else None,
        oldest=_oldest(beat, language),
        epoch="" if number is None else labels["epoch"].format(epoch=number),
        cloud_seq=held,
        box_seq=beat.seq if beat else None,
        catalogue=beat.catalogue_version if beat else None,
        software=beat.software if beat else "",
    )


def _exceptions(count: int, labels: dict[str, str]) -> str:
    if count == 0:
        return ""
    return labels["exceptions_one"] if count == 1 else labels["exceptions_many"].format(count=count)


def _flags(beat: Heartbeat | None, language: Language) -> str:
    """What the box flagged since it started, the most frequent first."""
    counted = sorted(beat.flags.items(), key=lambda item: (-item[1], item[0])) if beat else []
    named = [f"{words.FLAGS[language].get(flag, flag)} ({count})" for flag, count in counted if count]
    return words.LABELS[language]["flags"].format(flags=", ".join(named)) if named else ""


def _oldest(beat: Heartbeat | None, language: Language) -> str:
    if beat is None or beat.backlog <= 0:
        return ""
    return words.LABELS[language]["oldest"].format(age=words.age(beat.oldest_waiting_s, language))
