"""Figures of a run find their place in a page, and no other word of it changes."""

from pathlib import Path

import pytest

from bench.processes import Failed
from campaigns.image.figures import Figures

PAGE = """# Evidence

<!-- figures: image amd64 -->

| what | seen |
| --- | --- |
| old | 1 s |

<!-- end of figures: image amd64 -->

<!-- figures: image rpi --><!-- end of figures: image rpi -->

Not seen yet: much.
"""


@pytest.fixture
def figures() -> Figures:
    figures = Figures()
    figures.note("a stopped daemon", r"25 s, \1 of them")
    return figures


def test_they_take_the_place_of_the_last_ones(figures: Figures, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    figures.keep(page, "image amd64")
    figures.keep(page, "image rpi")

    row = "| a stopped daemon | 25 s, \\1 of them |"
    assert page.read_text().count(row) == 2
    assert "old" not in page.read_text()
    assert page.read_text().startswith("# Evidence\n\n<!-- figures: image amd64 -->\n\n| what | seen |\n")
    assert page.read_text().endswith("<!-- end of figures: image rpi -->\n\nNot seen yet: much.\n")


def test_a_page_without_a_place_for_them_stays_as_it_is(figures: Figures, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    with pytest.raises(Failed, match="0 places"):
        figures.keep(page, "image riscv")

    assert page.read_text() == PAGE
