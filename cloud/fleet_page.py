"""The fleet for people: each box as the sentences and figures of one row."""

import msgspec

from appliance.domain.health import Grade, Heartbeat
from cloud import words
from cloud.fleet import BoxHealth
from cloud.words import Language

# Boxes renew at half of their year: one that has come this far has missed many renewals.
CERTIFICATE_WARN_S = 90 * 86_400.0
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
    written: str
    # What is said of who it is, each with its state: `bad`, `warn` or nothing.
    identity: list[tuple[str, str]]
    # The same of what it runs and of its updates.
    updates: list[tuple[str, str]]


class Count(msgspec.Struct, frozen=True):
    """How many boxes are of a grade."""

    grade: str
    word: str
    boxes: int


def rows(fleet: list[BoxHealth], language: Language) -> list[Row]:
    """The rows of the page, worst first, then by shop."""
    # What was revoked asks for nothing any more: it stands at the end.
    ordered = sorted(
        fleet,
        key=lambda box: (bool(box.revoked_at), _ORDER.index(box.verdict.grade), box.shop, box.box),
    )
    return [_row(box, language) for box in ordered]


def counts(fleet: list[BoxHealth], language: Language) -> list[Count]:
    """How many boxes are of each grade that occurs, worst first."""
    labels = words.LABELS[language]
    found = [Count(g.value, labels[g.value], sum(b.verdict.grade is g for b in fleet)) for g in _ORDER]
    return [count for count in found if count.boxes]


def _row(box: BoxHealth, language: Language) -> Row:
    labels = words.LABELS[language]
    beat = box.beat
    # What a revoked box said of its line is over.
    heard = None if box.revoked_at else beat
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
        line=labels.get(heard.link, heard.link) if heard else "",
        line_state=heard.link if heard and heard.link in ("online", "degraded", "offline") else "unknown",
        cause=words.CAUSES[language].get(heard.cause, "") if heard else "",
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
        written=_written(beat, labels),
        identity=_identity(box, language),
        updates=_updates(box, language),
    )


def _identity(box: BoxHealth, language: Language) -> list[tuple[str, str]]:
    labels, beat, said = words.LABELS[language], box.beat, list[tuple[str, str]]()
    if box.revoked_at is not None:
        return [(labels["revoked_on"].format(date=box.revoked_at[:10]), "bad")]
    left_s = box.certificate_s
    if left_s is not None and left_s > 0:
        text = labels["certificate_left"].format(age=words.age(left_s, language))
        said.append((text, "warn" if left_s < CERTIFICATE_WARN_S else ""))
    elif left_s is not None:
        said.append((labels["certificate_ended"].format(age=words.age(-left_s, language)), "bad"))
    if beat and beat.tills_paired:
        many = labels["tills_many"].format(count=beat.tills_paired)
        said.append((labels["tills_one"] if beat.tills_paired == 1 else many, ""))
    if beat and beat.multicast == "blocked":
        said.append((labels["multicast_blocked"], "warn"))
    return said


def _updates(box: BoxHealth, language: Language) -> list[tuple[str, str]]:
    labels, said = words.LABELS[language], list[tuple[str, str]]()
    view = box.beat.update if box.beat else None
    if view is not None and view.running:
        said.append((labels["image"].format(version=view.running), ""))
    if view is not None and view.state != "none":
        done = 100 * view.fetched_bytes // view.size if view.size > 0 else 0
        text = labels[f"update_{view.state}"].format(version=view.version, percent=min(done, 100))
        said.append((text, ""))
    if (last := box.outcome) is not None:
        reason = words.UPDATE_REASONS[language].get(last.reason, last.reason)
        text = labels.get(last.kind, last.kind).format(version=last.version, reason=reason)
        bad = last.kind == "update_rolled_back"
        said.append(
            (text, "bad" if bad else "warn" if last.reason and last.reason != "already-there" else "")
        )
    return said


def _exceptions(count: int, labels: dict[str, str]) -> str:
    if count == 0:
        return ""
    return labels["exceptions_one"] if count == 1 else labels["exceptions_many"].format(count=count)


def _written(beat: Heartbeat | None, labels: dict[str, str]) -> str:
    day = beat.machine.written_day_bytes if beat and beat.machine else None
    return "" if day is None else labels["written"].format(mb=round(day / 1e6))


def _flags(beat: Heartbeat | None, language: Language) -> str:
    """What the box flagged since it started, the most frequent first."""
    counted = sorted(beat.flags.items(), key=lambda item: (-item[1], item[0])) if beat else []
    named = [f"{words.FLAGS[language].get(flag, flag)} ({count})" for flag, count in counted if count]
    return words.LABELS[language]["flags"].format(flags=", ".join(named)) if named else ""


def _oldest(beat: Heartbeat | None, language: Language) -> str:
    if beat is None or beat.backlog <= 0:
        return ""
    return words.LABELS[language]["oldest"].format(age=words.age(beat.oldest_waiting_s, language))
