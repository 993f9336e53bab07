"""What a run found out, told at once and again at its end."""


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
