"""Hosts of a shop's network, in namespaces that leave this machine's own alone, and a whole box to run in one."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.enrolling import EnrolAnswer
from appliance.domain.gate import BUILT_IN
from appliance.domain.statements import POLICY_TYPE, sign
from appliance.gateways.identity import Identity
from appliance.runtime.certificates import csr, read_csr
from appliance.runtime.clock import SystemClock
from appliance.runtime.keyfile import public_pem
from cloud.authority import Authority

ROOT = Path(__file__).parents[2]
SHOP = "lyon-part-dieu"
# Head office is said to be there, and nobody is.
NOBODY_V4 = "10.77.0.9"


@dataclass(frozen=True)
class Box:
    """What a till shall find: the whole daemon, enrolled at a head office that cannot be reached."""

    id: str
    fingerprint: str
    config: Path

    @property
    def instance(self) -> str:
        return f"Storebox {SHOP} {self.id[-4:]}"

    def command(self, *words: str) -> list[str]:
        """What runs in the box's namespace: the daemon, or another command."""
        return [sys.executable, "-m", "appliance.cli", *(words or ("run",)), "--config", str(self.config)]


def a_whole_box(tmp_path: Path) -> Box:
    """One that is enrolled, and knows no line."""
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "authority").mkdir()
    identity, office = Identity(state), Signer(Ed25519PrivateKey.generate())
    authority = Authority.open(tmp_path / "authority", SystemClock())
    request = read_csr(csr(identity.lan_ca_key, identity.box))
    answer = EnrolAnswer(
        box=identity.box,
        shop=SHOP,
        shop_name="Lyon Part-Dieu",
        box_token="not asked for",
        cloud_keys=[public_pem(office.public_key)],
        policy=msgspec.Raw(sign(office, POLICY_TYPE, BUILT_IN)),
        lan_certificate=authority.lan_certificate(request, identity.box),
        authority=authority.root_pem,
    )
    identity.keep_enrolment(f"http://{NOBODY_V4}:8490", answer)
    config = tmp_path / "storebox.toml"
    config.write_text(f'state = "{state}"\n')
    return Box(identity.box, identity.signer.key_id, config)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def inside(host: str, command: list[str]) -> list[str]:
    """The command, run in that namespace, with a mount namespace of its own."""
    return ["ip", "netns", "exec", host, *command]


@contextmanager
def running(command: list[str], **options: object) -> Iterator["subprocess.Popen[str]"]:
    """A process that is gone when the block is left: SIGTERM, and SIGKILL if it does not heed that."""
    with subprocess.Popen(command, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_line(lines: IO[str] | None, *marks: str) -> str:
    """The next line that holds all of these; the test's own time limit ends the wait, and so does the output."""
    assert lines is not None
    seen = []
    for line in lines:
        seen.append(line)
        if all(mark in line for mark in marks):
            return line
    raise AssertionError(f"ended before {marks}: {''.join(seen)}")


@contextmanager
def host(name: str) -> Iterator[str]:
    """A network namespace; what it holds goes with it."""
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "del", name)


def plug(host: str, *addresses: str) -> None:
    ip("-n", host, "link", "set", "eth0", "up")
    for address in addresses:
        nodad = ["nodad"] if ":" in address else []
        ip("-n", host, "address", "add", address, "dev", "eth0", *nodad)


def new_name() -> str:
    """Of a shop's hosts, so that two tests at once do not meet."""
    return f"sb-{secrets.token_hex(4)}"
