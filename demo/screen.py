"""What people see: the live screen in a terminal, a plain line without one, and the tally as a table. 80 columns do."""

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from appliance.domain.wire import Status
from demo.desk import Desk
from demo.hearing import Hearing, News, cause_in_words
from demo.outages import Phase
from demo.places import SHOP, SHOP_NAME
from demo.run import Controls
from demo.tally import Tally
from demo.watch import Watch

# What the other rows leave of a terminal of 24 lines.
NEWS_SHOWN = 5
HASH_SHOWN = 8
KEYS = (
    "[b]c[/b] cut  [b]m[/b] mend  [b]s[/b] slow  [b]g[/b] gust  [b]k[/b] kill -9 the box"
    "  [b]q[/b] or Ctrl-C: stop, tally"
)
_PHASES: dict[Phase, str] = {
    "starting": "while the box starts",
    "up": "while the line is up",
    "noticing": "in a cut, not yet noticed",
    "cut": "in a cut, noticed",
    "recovering": "just after a cut",
    "stormy": "in bad weather and after",
}


class Screen:
    """Renders the desk as it is right now; rich calls it four times a second."""

    def __init__(
        self, desk: Desk, hearing: Hearing, watch: Watch, controls: Controls, for_s: float | None
    ) -> None:
        self._desk = desk
        self._hearing = hearing
        self._watch = watch
        self._controls = controls
        self._for_s = for_s

    def __rich__(self) -> RenderableType:
        """The whole screen."""
        now_s = self._hearing.now_s
        until = "" if self._for_s is None else f" of {self._for_s:.0f}"
        return Panel(
            Group(self._facts(), Text(), self._tills(), Text(), self._news(), Text(), Text.from_markup(KEYS)),
            title=f"storebox · shop {SHOP} {SHOP_NAME}",
            subtitle=f"{now_s:.0f} s{until}",
            padding=(0, 1),
        )

    def line_in_words(self) -> str:
        """How the line is."""
        condition = self._desk.line.condition
        if (since_s := self._controls.cut_since_s) is not None:
            return f"CUT for {self._hearing.now_s - since_s:.0f} s"
        if (gust := self._controls.gust) is not None:
            return f"WEATHER: {gust.words}"
        if condition.slow:
            return f"SLOW: {condition.latency_s:g} s each way"
        return "carries"

    def progress(self) -> str:
        """The same in one plain line."""
        status = self._watch.status
        if status is None:
            return f"{self._hearing.now_s:6.1f} s  the box has not answered yet"
        journal = status.journal
        storms = f" ({self._controls.gusts_so_far} gusts so far)" if self._controls.gusts_so_far else ""
        return (
            f"{self._hearing.now_s:6.1f} s  line {self.line_in_words()}{storms}; {self._box_in_words(status)}; "
            f"{self._hearing.accepted} sales accepted; "
            f"journal {journal.epoch}/{journal.seq} {journal.head[:HASH_SHOWN]}, backlog {journal.backlog}; "
            f"cloud {self._cloud_in_words()}; catalogue {status.catalogue_version}"
        )

    def _facts(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True, min_width=9)
        table.add_column(no_wrap=True, overflow="ellipsis")
        counters = self._desk.line.counters
        line = self.line_in_words()
        style = {"c": "green", "C": "bold white on red", "S": "bold yellow", "W": "bold magenta"}[line[0]]
        moved = f"  {counters.bytes_up / 1024:.0f} KiB up, {counters.bytes_down / 1024:.0f} KiB down"
        table.add_row("line", Text.assemble((line, style), moved, f", {counters.resets} reset"))
        status = self._watch.status
        if status is None:
            table.add_row("box", Text("has not answered yet", "yellow"))
            return table
        journal = status.journal
        table.add_row("box", self._box(status))
        table.add_row(
            "sales",
            f"{self._hearing.accepted} accepted in this run; the box was killed {self._desk.kills} times",
        )
        table.add_row(
            "journal", f"epoch {journal.epoch}, seq {journal.seq}, head {journal.head[:HASH_SHOWN]}"
        )
        waiting = f"{journal.backlog} events wait, the oldest for {journal.oldest_waiting_s:.0f} s"
        table.add_row(
            "backlog",
            Text(waiting, "bold yellow") if journal.backlog else Text("0: head office has everything"),
        )
        table.add_row("cloud", self._cloud_in_words())
        table.add_row("catalogue", f"version {status.catalogue_version}, {status.articles} articles")
        return table

    def _box(self, status: Status) -> Text:
        style = {"online": "green", "degraded": "yellow"}.get(status.state, "bold red")
        return Text.assemble((self._box_in_words(status), style if self._watch.answers else "bold red"))

    def _box_in_words(self, status: Status) -> str:
        if not self._watch.answers:
            return "the box does not answer"
        mode = status.mode
        return f"box {status.state}, proposes {mode.mode} mode: {cause_in_words(mode.cause)}"

    def _cloud_in_words(self) -> str:
        if not self._watch.epochs:
            return "holds nothing of this box yet"
        end = self._watch.epochs[-1]
        return f"epoch {end.epoch}, seq {end.seq}, head {end.head[:HASH_SHOWN]}"

    def _tills(self) -> Table:
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        for name in ("till", "sells by", "mode"):
            table.add_column(name, no_wrap=True)
        for name in ("by cloud", "by box", "kept", "ops done", "refused", "ms"):
            table.add_column(name, no_wrap=True, justify="right")
        for view in self._hearing.tills.values():
            table.add_row(
                f"{view.till} #{view.last_ticket}",
                "both" if view.two_ways else "the box",
                Text(view.mode, "green" if view.mode == "cloud" else "yellow"),
                *(str(n) for n in (view.by_cloud, view.by_box, len(view.kept), view.passed, view.refused)),
                f"{view.last_ms:.0f}",
            )
        return table

    def _news(self) -> RenderableType:
        shown: list[News] = list(self._hearing.news)[-NEWS_SHOWN:]
        lines = [
            Text(f"{news.at_s:6.1f} {news.who:<4} {news.text}", news.style, no_wrap=True, overflow="ellipsis")
            for news in shown
        ]
        return Group(*lines, *(Text() for _ in range(NEWS_SHOWN - len(lines))))


def print_tally(tally: Tally, console: Console) -> None:
    """The tally, for people."""
    table = Table(
        title="tally", title_justify="left", box=None, padding=(0, 2), pad_edge=False, show_header=False
    )
    table.add_column(justify="right")
    table.add_column()

    def row(count: int, text: str, *, bad: bool = False) -> None:
        table.add_row(Text(str(count), "bold red" if bad and count else "bold"), escape(text))

    row(tally.accepted, "sales that tills were told are safe (this run and earlier ones)")
    row(
        tally.in_cloud,
        f"sales that head office holds: {tally.by_cloud} brought by tills, {tally.by_box} by the box",
    )
    row(tally.events, "events of the box at head office, every link of the chain checked")
    row(tally.lost, "lost", bad=True)
    row(tally.doubled, "doubled", bad=True)
    row(tally.altered, "altered", bad=True)
    row(tally.out_of_order, "out of order or missing in a row of tickets", bad=True)
    row(tally.unexpected, "that nobody sold", bad=True)
    row(tally.waiting, "still waiting at a till", bad=True)
    for phase, count in tally.operations.items():
        if count.passed or count.refused:
            row(count.passed, f"online-only operations let through {_PHASES[phase]}, {count.refused} refused")
    for edge in tally.edges:
        row(
            edge.heard_local,
            f"of {edge.tills} tills heard of the cut at {edge.cut_s:g} s, "
            f"{edge.heard_cloud} of its end at {edge.mended_s:g} s",
        )
    console.print()
    console.print(table)
    for finding in tally.findings:
        console.print(Text(finding, "red"))
    verdict = ("each accepted sale is in the cloud exactly once", "bold green")
    console.print(Text.assemble("\n", verdict if tally.ok else ("THE TALLY DOES NOT HOLD", "bold red")))
