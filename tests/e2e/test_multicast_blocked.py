"""A shop whose switch passes no multicast: tills reach the box by address all the same, and the box says what is wrong.

Box and tills are network namespaces on a real Linux bridge, whose ports pass unknown multicast on or do not.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import require
from tests.fakes.hosts import ROOT, Box, a_whole_box, host, inside, ip, new_name, plug, running, wait_for_line

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(120)]

TILLS = ("T1", "T2")
ISSUE = "multicast-blocked"
# A till has looked around for three seconds by then.
AFTER_S = 4.5


@dataclass(frozen=True)
class Shop:
    """Hosts on one bridge, and what runs on them."""

    switch: str
    box_host: str
    till_hosts: dict[str, str]
    box: Box
    folder: Path

    def let_multicast_through(self, *, passes: bool) -> None:
        """Like a switch, or an access point, that floods what it has no member for, or does not."""
        flood = "on" if passes else "off"
        for one in (self.box_host, *self.till_hosts.values()):
            ip("-n", self.switch, "link", "set", port(one), "type", "bridge_slave", "mcast_flood", flood)

    def issues(self) -> list[str]:
        """What the box says is wrong."""
        told = self._on_box("status", "--json", check=False)
        return list(json.loads(told)["issues"])

    def pair(self, till: str) -> None:
        """Open the window, and scan."""
        code = json.loads(self._on_box("pairing", "open", "--json"))["payload"]
        command = self._till(till, "pair", "--till", till, "-")
        subprocess.run(command, cwd=ROOT, input=code, text=True, check=True, capture_output=True)

    def open_tills(self) -> list[dict[str, str]]:
        """Every till comes up, looks around, asks the box for something and goes; how each found the box."""
        script = self.folder / "script"
        script.write_text(json.dumps({"after_s": AFTER_S, "operation": "transfer", "data": {}}) + "\n")
        with ExitStack() as stack:
            tills = [
                stack.enter_context(
                    running(
                        self._till(till, "run", "--script", str(script)), cwd=ROOT, stdout=subprocess.PIPE
                    )
                )
                for till in TILLS
            ]
            found = [json.loads(wait_for_line(till.stdout, '"connected"')) for till in tills]
            for till in tills:
                wait_for_line(till.stdout, '"refused"', "transfer")
        return found

    def _on_box(self, *words: str, check: bool = True) -> str:
        command = inside(self.box_host, self.box.command(*words))
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check).stdout

    def _till(self, till: str, *words: str) -> list[str]:
        state = ("--state", str(self.folder / till))
        return inside(self.till_hosts[till], [sys.executable, "-m", "till.cli", *words, *state])


def port(host: str) -> str:
    """The bridge's port to a host; a name of an interface has 15 characters at most."""
    return f"p-{host.rpartition('-')[2]}"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    require("ip", root=True)
    run = new_name()
    with ExitStack() as stack:
        switch, *hosts = (stack.enter_context(host(f"{run}-{name}")) for name in ("switch", "box", *TILLS))
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for number, one in enumerate(hosts, start=1):
            ip("-n", switch, "link", "add", port(one), "type", "veth", "peer", "name", "eth0", "netns", one)
            ip("-n", switch, "link", "set", port(one), "master", "br0", "up")
            plug(one, f"10.77.0.{number}/24")
        yield Shop(
            switch, hosts[0], dict(zip(TILLS, hosts[1:], strict=True)), a_whole_box(tmp_path), tmp_path
        )


@pytest.mark.parametrize("passes", [False, True], ids=["blocked", "passed on"])
def test_the_box_says_that_multicast_is_blocked_and_its_tills_reach_it(shop: Shop, passes: bool) -> None:
    shop.let_multicast_through(passes=passes)
    with running(inside(shop.box_host, shop.box.command()), cwd=ROOT, stdout=subprocess.PIPE) as daemon:
        wait_for_line(daemon.stdout, "ready")
        for till in TILLS:
            shop.pair(till)
        before = shop.issues()

        found = [*shop.open_tills(), *shop.open_tills()]

        assert {line["box"] for line in found} == {shop.box.id}
        assert ISSUE not in before
        assert (ISSUE in shop.issues()) == (not passes)

        # The shop's network is mended: one till that sees the box settles it.
        shop.let_multicast_through(passes=True)
        shop.open_tills()
        assert ISSUE not in shop.issues()
