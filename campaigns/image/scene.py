"""What all parts share: a card as a technician writes it, the machine it is in, head office, and a paired till."""

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import call, must, program
from campaigns.image.figures import Figures
from campaigns.image.machine import SERVES, TOOLS, Machine
from campaigns.image.shop import SHOP, Office, Till, free_port, head_office
from campaigns.until import until

CARD_BYTES = 6 * 1024**3
# The key of who may come in by SSH, in the scene's folder.
TECHNICIAN = "technician"


@dataclass
class Scene:
    """A box that is enrolled and on."""

    image: Path
    machine: Machine
    office: Office
    till: Till
    patience_s: float
    cuts: int
    figures: Figures

    def note(self, what: str, value: str) -> None:
        """A figure for the end."""
        self.figures.note(what, value)

    def boot(self, *, clock: str = "utc", more: Sequence[str] = ()) -> float:
        """Switch it on, with `more` devices; seconds until a till is served."""
        self.machine.start(clock=clock, more=more)
        self.machine.wait_for(SERVES, self.patience_s)
        return time.monotonic() - self.machine.started_s

    def in_the_books(self) -> int:
        """How many acked sales the till knows; each is in head office's books exactly once."""
        acked = self.till.acked()
        token = self.office.ask("admin-token")
        held = list[str]()
        after = ""
        while True:
            request = urllib.request.Request(
                f"https://127.0.0.1:{self.office.port}/v1/sales?after={after}&limit=1000",
                headers={"Authorization": f"Bearer {token}"},
            )
            context = self.office.context()
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310  our own head office
                rows = [json.loads(line) for line in answer.read().splitlines()]
            if not rows:
                break
            held += [row["sale_id"] for row in rows]
            after = rows[-1]["sale_id"]
        must(len(held) == len(set(held)), "a sale is in the books twice")
        lost = set(acked) - set(held)
        must(not lost, f"{len(lost)} acked sales are not in the books")
        return len(acked)


@contextlib.contextmanager
def open_scene(image: Path, folder: Path, patience_s: float, cuts: int, figures: Figures) -> Iterator[Scene]:
    """Flash, boot for the first time, enrol, pair. The machine is off afterwards."""
    ssh_port = free_port()
    with head_office(folder) as office:
        claim = folder / "claim"
        claim.write_text(office.ask("claim", "--shop", SHOP))
        card = folder / "card.img"
        flash = ["flash", "--image", str(image), "--to", str(card), "--yes", "--claim-file", str(claim)]
        key = folder / TECHNICIAN
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
        call([program("storebox-provision"), *flash, "--hostname", "nantes", "--ssh-key", f"{key}.pub"])
        with card.open("r+b") as file:
            # A larger card than the image: the data partition grows.
            file.truncate(CARD_BYTES)
        machine = Machine(image.parents[1] / TOOLS, folder, card, ssh_port=ssh_port)
        with machine:
            scene = Scene(image, machine, office, Till(folder), patience_s, cuts, figures)
            machine.start()
            scene.note(
                "first power-on to a box that answers", f"{machine.wait_for('storebox: ', patience_s):.0f} s"
            )
            _until_enrolled(scene)
            opened = json.loads(machine.shell("storebox pairing open --json"))
            scene.till.pair(opened["payload"])
            yield scene
            scene.till.stop()


def _until_enrolled(scene: Scene) -> None:
    """The claim is on the card: nobody does anything."""
    shell = scene.machine.shell
    ready = "journalctl -b -u storebox -o cat | grep -q '^ready ' && echo yes || echo no"
    until(
        lambda: shell(ready) == "yes",
        scene.patience_s,
        lambda: f"not enrolled: {shell('journalctl -u storebox -o cat | tail -n 20')}",
        look_s=1.0,
    )
