"""A till's own system finds the box: Avahi, on another host of the same shop network; and so does our till.

Both hosts are network namespaces, joined by a cable that is a veth pair; nothing of it touches the machine's network.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import require
from tests.fakes.hosts import (
    ROOT,
    SHOP,
    Box,
    a_whole_box,
    host,
    inside,
    ip,
    new_name,
    plug,
    running,
    wait_for_line,
)

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TOOLS = ("ip", "dbus-daemon", "avahi-daemon", "avahi-browse", "avahi-publish", "sh")
BOX_V4, BOX_V6, TILL_V4, TILL_V6 = "10.77.0.1", "fd77::1", "10.77.0.2", "fd77::2"

BUS = """<busconfig>
  <type>system</type>
  <listen>unix:path={bus}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
AVAHI = """[server]
host-name=till
use-ipv4=yes
use-ipv6=yes
allow-interfaces=eth0
"""


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return a_whole_box(tmp_path)


@dataclass(frozen=True)
class Shop:
    """Two hosts on one cable, and Avahi on the till's."""

    box_host: str
    till_host: str
    environment: dict[str, str]

    def browse(self, *options: str) -> "subprocess.Popen[str]":
        """avahi-browse on the till's host; with `-t` it ends by itself."""
        command = ["avahi-browse", "-rp", *options, "_storebox._tcp"]
        return subprocess.Popen(inside(self.till_host, command), env=self.environment, stdout=-1, text=True)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    require(*TOOLS, root=True)
    run = new_name()
    with ExitStack() as stack:
        box_host = stack.enter_context(host(f"{run}-box"))
        till_host = stack.enter_context(host(f"{run}-till"))
        cable = ("eth0", "type", "veth", "peer", "name", "eth0", "netns", till_host)
        ip("-n", box_host, "link", "add", *cable)
        plug(box_host, f"{BOX_V4}/24", f"{BOX_V6}/64")
        plug(till_host, f"{TILL_V4}/24", f"{TILL_V6}/64")
        environment = {
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/bus",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        stack.enter_context(avahi(tmp_path, till_host, environment))
        yield Shop(box_host, till_host, environment)


@contextmanager
def avahi(tmp_path: Path, host: str, environment: dict[str, str]) -> Iterator[None]:
    """Avahi and a bus of its own, ready; its run directory is in a mount namespace that ends with it."""
    (tmp_path / "bus.conf").write_text(BUS.format(bus=tmp_path / "bus"))
    (tmp_path / "avahi.conf").write_text(AVAHI)
    bus = ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--print-address"]
    daemon = f"exec avahi-daemon -f {tmp_path}/avahi.conf --no-drop-root --no-chroot --no-rlimits"
    script = f"mount -t tmpfs none /run && mkdir /run/avahi-daemon && {daemon}"
    with (
        running(bus, stdout=subprocess.PIPE) as bus_process,
        running(
            inside(host, ["sh", "-c", script]),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as avahi_process,
    ):
        wait_for_line(bus_process.stdout, "unix:path=")
        wait_for_line(avahi_process.stdout, "Server startup complete")
        yield


def resolved(shop: Shop) -> list[list[str]]:
    """What `avahi-browse -rpt` resolves, field by field: interface, protocol, name, ..., host, address, port, TXT."""
    with shop.browse("-t") as browser:
        output, _ = browser.communicate()
    # avahi-browse writes what is no letter or digit as a backslash and three decimals.
    plain = re.sub(r"\\(\d{3})", lambda escaped: chr(int(escaped[1])), output)
    return [line.split(";") for line in plain.splitlines() if line.startswith("=")]


@contextmanager
def watching(shop: Shop) -> Iterator[IO[str] | None]:
    """The lines of an avahi-browse that goes on for ever."""
    with shop.browse() as browser:
        try:
            yield browser.stdout
        finally:
            browser.terminate()


def test_avahi_finds_the_box_with_all_it_says_and_sees_it_leave(shop: Shop, box: Box) -> None:
    with watching(shop) as news:
        with running(inside(shop.box_host, box.command()), cwd=ROOT):
            wait_for_line(news, "=;", BOX_V4)
            found = resolved(shop)
        wait_for_line(news, "-;", "IPv4")
    left = resolved(shop)

    assert {(line[3], line[6], line[8]) for line in found} == {(box.instance, f"{box.id}.local", "8480")}
    assert BOX_V4 in {line[7] for line in found}
    for line in found:
        txt = dict(entry.split("=", 1) for entry in shlex.split(line[9]))
        assert txt == {
            "txtvers": "1",
            "id": box.id,
            "shop": SHOP,
            "api": "1",
            "fp": box.fingerprint,
            "st": "offline",
            "tls": "1",
        }
    assert left == []


def test_a_name_that_another_host_holds_is_left_to_it(shop: Shop, box: Box) -> None:
    holder = ["avahi-publish", "--service", box.instance, "_storebox._tcp", "9"]

    with (
        watching(shop) as news,
        running(inside(shop.till_host, holder), env=shop.environment, stderr=subprocess.PIPE) as publisher,
    ):
        wait_for_line(publisher.stderr, "Established")
        with running(inside(shop.box_host, box.command()), cwd=ROOT):
            wait_for_line(news, "=;", box.id)
            found = {(line[3], line[8]) for line in resolved(shop)}

    assert found == {(box.instance, "9"), (f"{box.instance} (2)", "8480")}


def test_a_box_that_gets_another_address_says_so_by_itself(shop: Shop, box: Box) -> None:
    with watching(shop) as news, running(inside(shop.box_host, box.command()), cwd=ROOT):
        wait_for_line(news, "=;", BOX_V4)
        ip("-n", shop.box_host, "address", "del", f"{BOX_V4}/24", "dev", "eth0")
        ip("-n", shop.box_host, "address", "add", "10.77.0.5/24", "dev", "eth0")
        # What is announced stands for ten seconds; the test's own time limit ends the wait.
        while "10.77.0.5" not in {line[7] for line in resolved(shop)}:
            pass


HEAR = """
import asyncio
from appliance.gateways.netlink import network_changes

async def main():
    heard = asyncio.Event()
    with network_changes(heard.set):
        print("listening", flush=True)
        await heard.wait()
        print("changed", flush=True)

asyncio.run(main())
"""


def test_the_kernel_tells_of_a_new_address_at_once(shop: Shop) -> None:
    listener = inside(shop.box_host, [sys.executable, "-c", HEAR])
    with running(listener, cwd=ROOT, stdout=subprocess.PIPE) as process:
        wait_for_line(process.stdout, "listening")
        ip("-n", shop.box_host, "address", "add", "10.77.0.6/24", "dev", "eth0")
        wait_for_line(process.stdout, "changed")


def test_a_till_pairs_with_the_box_and_finds_it_by_mdns_alone(shop: Shop, box: Box, tmp_path: Path) -> None:
    def till(*words: str) -> list[dict[str, str]]:
        command = [sys.executable, "-m", "till.cli", *words, "--state", str(tmp_path / "till")]
        done = subprocess.run(
            inside(shop.till_host, command), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    with (
        watching(shop) as news,
        running(inside(shop.box_host, box.command()), cwd=ROOT, stdout=subprocess.PIPE) as daemon,
    ):
        wait_for_line(daemon.stdout, "ready")
        wait_for_line(news, "=;", BOX_V4)
        opened = inside(shop.box_host, box.command("pairing", "open", "--json"))
        code = json.loads(subprocess.run(opened, cwd=ROOT, capture_output=True, check=True).stdout)["payload"]
        (tmp_path / "code").write_text(code)
        paired = till("pair", "--till", "T1", "--file", str(tmp_path / "code"))
        (tmp_path / "till" / "places.json").unlink()
        found = till("locate")

    assert paired[0] == {"event": "paired", "till": "T1", "box": box.id, "shop": SHOP}
    assert found[-1]["event"] == "connected"
    assert {line["rung"] for line in found if line["event"] == "tried"} <= {"mdns"}
