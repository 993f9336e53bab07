"""What a run found out, told at once and again at its end, and kept in a page."""

import re
from pathlib import Path

from bench.processes import Failed


class Figures:
    """In the order in which they came."""

    def __init__(self) -> None:
        self._all: list[tuple[str, str]] = []

    def note(self, what: str, value: str) -> None:
        """One more."""
        self._all.append((what, value))
        print(f"   {what}: {value}", flush=True)

    def table(self) -> str:
        """All of them, as docs/EVIDENCE.md shows them."""
        return "\n".join(
            ["| what | seen |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in self._all)]
        )

    def keep(self, page: Path, name: str) -> None:
        """Put the table into a page of Markdown, in place of the last one: between two marks that have this name.

        Raises Failed when the page has no such place.
        """
        begin, end = f"<!-- figures: {name} -->", f"<!-- end of figures: {name} -->"
        # What a run says may hold backslashes: no template.
        table = f"{begin}\n\n{self.table()}\n\n{end}"
        text, places = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: table, page.read_text(), flags=re.DOTALL
        )
        if places != 1:
            raise Failed(f"{page}: {places} places for the figures of {name!r}")
        page.write_text(text)
