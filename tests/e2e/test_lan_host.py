"""Where the box listens is where it says that it is, and its own commands always get in. In a namespace of its own."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import ANY_V4
from appliance.domain.pairing import read_payload
from tests.conftest import require
from tests.fakes.hosts import ROOT, a_whole_box, host, inside, ip, new_name, plug, running, wait_for_line

pytestmark = [pytest.mark.netns, pytest.mark.slow]

V4, V6 = "10.77.0.1", "fd77::1"


@pytest.fixture
def machine() -> Iterator[str]:
    """A host with an address of each family."""
    require("ip", root=True)
    with host(f"{new_name()}-box") as name:
        ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "wall")
        ip("-n", name, "link", "set", "wall", "up")
        plug(name, f"{V4}/24", f"{V6}/64")
        yield name


@pytest.mark.parametrize(
    ("lan_host", "told"),
    [("", {V4, V6}), (ANY_V4, {V4}), (V4, {V4}), (V6, {V6})],
    ids=["everywhere", "all of IPv4", "one of IPv4", "one of IPv6"],
)
def test_tills_are_told_where_the_box_listens_and_its_commands_get_in(
    tmp_path: Path, machine: str, lan_host: str, told: set[str]
) -> None:
    box = a_whole_box(tmp_path)
    if lan_host:
        box.config.write_text(f'{box.config.read_text()}[lan]\nhost = "{lan_host}"\n')

    def asked(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            inside(machine, list(command)), cwd=ROOT, capture_output=True, text=True, check=False
        )

    with running(inside(machine, box.command()), cwd=ROOT, stdout=subprocess.PIPE) as daemon:
        wait_for_line(daemon.stdout, "ready")
        status = asked(*box.command("status", "--json"))
        opened = asked(*box.command("pairing", "open", "--json"))
        reached = {
            address for address in (V4, V6) if not asked("bash", "-c", f"</dev/tcp/{address}/8480").returncode
        }

    assert json.loads(status.stdout)["box"] == box.id
    addresses = read_payload(json.loads(opened.stdout)["payload"]).addresses
    assert {address.rpartition(":")[0].strip("[]") for address in addresses} == told
    assert reached == told
