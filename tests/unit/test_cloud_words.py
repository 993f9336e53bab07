"""What the fleet page says: both languages say the same things, and durations read well."""

import pytest

from appliance.domain.flags import FLAGS
from appliance.domain.health import Grade
from appliance.domain.link import Cause
from cloud import words


@pytest.mark.parametrize("table", [words.LABELS, words.REASONS, words.CAUSES, words.FLAGS])
def test_both_languages_have_a_word_for_everything(table: dict[words.Language, dict[str, str]]) -> None:
    assert table["fr"].keys() == table["en"].keys()
    assert all(text for language in table.values() for text in language.values())


def test_every_grade_every_cause_and_every_flag_has_a_word() -> None:
    assert set(FLAGS) == words.FLAGS["fr"].keys()
    assert {grade.value for grade in Grade} <= words.LABELS["fr"].keys()
    assert {cause.value for cause in Cause} - {"ok"} == words.CAUSES["fr"].keys()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h 00"),
        (5_000, "1 h 23"),
        (86_400, "1 j 0 h"),
        (1e308, "1000 j 0 h"),
    ],
)
def test_a_duration_reads_as_one_or_two_units(seconds: float, text: str) -> None:
    assert words.age(seconds, "fr").replace("\N{NO-BREAK SPACE}", " ") == text
