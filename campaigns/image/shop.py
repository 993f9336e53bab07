"""Head office and a till on this host, as the programs that shops have."""

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.processes import Failed, call, program, serving
from campaigns.image.machine import BOX, OFFICE
from campaigns.until import until

SHOP, TILL = "S042", "T1"
ARTICLE = "3017620422003"


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Office:
    """A running head office. The box reaches it under an address of its own network."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._state = ("--state", str(folder / "cloud"))

    def ask(self, *command: str) -> str:
        """One of its commands."""
        head, *rest = command
        groups = {"catalogue", "pairing", "box", "authority", "update"}
        words = [head, rest.pop(0)] if head in groups else [head]
        return call([program("storebox-cloud"), *words, *self._state, *rest]).decode().strip()

    def context(self) -> ssl.SSLContext:
        """Trusts its authority alone."""
        return ssl.create_default_context(cadata=self.ask("authority", "show", "--pem"))


@contextlib.contextmanager
def head_office(folder: Path) -> Iterator[Office]:
    """It, with a catalogue, while inside."""
    port = free_port()
    config = folder / "cloud.toml"
    config.write_text(
        f'state = "{folder / "cloud"}"\nhost = "127.0.0.1"\nport = {port}\nnames = ["{OFFICE}", "127.0.0.1"]\n'
    )
    with serving([program("storebox-cloud"), "run", "--config", str(config)], folder / "cloud.log"):
        office = Office(folder, port)
        articles = folder / "articles.tsv"
        articles.write_text(f"{ARTICLE}\tPâte à tartiner 400 g\n")
        office.ask("catalogue", "import", str(articles))
        yield office


class Till:
    """A till that knows the box by its keys and sells through it alone."""

    def __init__(self, folder: Path) -> None:
        self._state = ("--state", str(folder / "till"))
        self._box = f"{BOX}:8480"
        self._folder = folder
        self._running: subprocess.Popen[bytes] | None = None

    def pair(self, code: str) -> None:
        """Come to know the box."""
        call([program("storebox-till"), "pair", *self._state, "--till", TILL, "-"], given=code.encode())

    def sell(self, count: int, every_s: float) -> None:
        """Begin to sell, in a process of its own."""
        script = self._folder / "script.ndjson"
        steps = (
            {
                "after_s": round(number * every_s, 3),
                "basket": {"lines": [{"article_id": ARTICLE, "quantity": "1"}]},
            }
            for number in range(count)
        )
        script.write_text("".join(json.dumps(step) + "\n" for step in steps))
        command = [
            program("storebox-till"), "run", *self._state, "--box", self._box, "--interface", "127.0.0.1",
            "--script", str(script),
        ]  # fmt: skip
        with (self._folder / "till.log").open("ab") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  our own program

    def wait(self, limit_s: float) -> None:
        """Until all is sold and in the cloud. Raises Failed."""
        assert self._running is not None
        try:
            code = self._running.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"the till does not end in {limit_s:.0f} s") from error
        if code:
            raise Failed(f"the till exited {code}: {(self._folder / 'till.log').read_text()[-1000:]}")
        self._running = None

    def stop(self) -> None:
        """In the middle, if need be."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait(30)
            self._running = None

    def status(self) -> dict[str, Any]:
        """What the box says of itself to this till. Raises Failed when it does not answer."""
        view = json.loads(self._look("status", "--box", self._box, "--interface", "127.0.0.1"))
        if view.get("box") is None:
            raise Failed(f"the box does not answer: {view.get('problem')}")
        status: dict[str, Any] = view["box"]
        return status

    def copies(self) -> list[dict[str, Any]]:
        """What it sold, and what became of it."""
        return [json.loads(line) for line in self._look("copies").splitlines()]

    def _look(self, command: str, *options: str) -> str:
        """A command that also exits 1 when something is still open."""
        words = [program("storebox-till"), command, *self._state, *options]
        done = subprocess.run(words, capture_output=True, check=False, text=True)  # noqa: S603  our own program
        if done.returncode not in {0, 1}:
            raise Failed(f"{' '.join(words)} exited {done.returncode}: {done.stderr[-1000:]}")
        return done.stdout

    def acked(self) -> dict[str, dict[str, Any]]:
        """The sales that the box said it has on its disk, by id."""
        return {copy["sale_id"]: copy for copy in self.copies() if copy["state"] in {"accepted", "synced"}}

    def wait_for_acks(self, more_than: int, limit_s: float) -> dict[str, dict[str, Any]]:
        """Until so many are acked. Raises Failed."""
        log = self._folder / "till.log"
        until(
            lambda: len(self.acked()) > more_than,
            limit_s,
            lambda: f"not {more_than + 1} sales acked: {log.read_text()[-1500:]}",
        )
        return self.acked()
