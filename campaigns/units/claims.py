"""How a box is let in by what came with its machine: a claim as a credential of its unit."""

import json
import shutil

from bench.processes import Failed, call, program, serving
from campaigns.units.box import KIT, READY_S, STATE, UNIT, Box
from campaigns.until import until

CREDENTIAL = "storebox.claim"


class Claims:
    """Each takes a box without a state and leaves one that was let in. Head office is there only meanwhile."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._machine = box.machine

    def a_claim_comes_as_a_credential(self) -> str:
        """A file that lies where systemd looks for them."""
        self._let_in("S042", f"install -D -m 600 /{KIT}/claim /etc/credstore/{CREDENTIAL}")
        return "the box is of the shop that the claim names"

    def a_claim_comes_as_an_encrypted_credential(self) -> str:
        """Only this machine's own key opens it; the claim itself lies nowhere."""
        encrypt = (
            f"systemd-creds encrypt --name={CREDENTIAL} /{KIT}/claim /etc/credstore.encrypted/{CREDENTIAL}"
        )
        self._let_in("S043", f"mkdir -p /etc/credstore.encrypted && {encrypt}")
        return "the box is of the shop that the claim names"

    def _let_in(self, shop: str, bring: str) -> None:
        self._machine.run("systemctl", "stop", UNIT)
        for left in (STATE, "etc/credstore", "etc/credstore.encrypted"):
            shutil.rmtree(self._box.path(left), ignore_errors=True)
        office = ("--state", str(self._box.work / "cloud"))
        run = [program("storebox-cloud"), "run", *office, "--host", "127.0.0.1", "--port", "0"]
        with serving(self._machine.beside(*run), self._box.work / "cloud.log"):
            claim = self._box.path(KIT) / "claim"
            claim.write_bytes(call([program("storebox-cloud"), "claim", *office, "--shop", shop]))
            self._machine.run("sh", "-c", bring)
            claim.unlink()
            self._machine.run("systemctl", "start", UNIT)
            until(lambda: self._shop() == shop, READY_S, lambda: f"a box of shop {shop}")
        if (self._box.path(STATE) / "claim").exists():
            raise Failed("the claim came as a file")

    def _shop(self) -> str | None:
        said = self._machine.run("storebox", "status", "--json", check=False)
        return json.loads(said)["shop"] if said else None
