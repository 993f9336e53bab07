"""What is attacked: a real head office and a real box over TLS, with tills that were paired over the wire."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.domain.pairing import PairAnswer, PairRequest, read_payload
from appliance.runtime.certificates import csr, private_pem
from appliance.runtime.tls import pinned_context
from bench.processes import Failed, call, program, serving

SHOP = "S042"


class Paired(msgspec.Struct, frozen=True):
    """A till: its token, and the identity that it is bound to (PEM)."""

    name: str
    token: str
    key: str
    chain: str

    @property
    def identity(self) -> tuple[bytes, bytes]:
        """What a context takes."""
        return self.key.encode(), self.chain.encode()


@dataclass(frozen=True)
class Target:
    """The box under attack."""

    host: str
    port: int
    spki: str
    pid: int
    tills: list[Paired]
    log: Path


@contextlib.contextmanager
def open_shop(folder: Path, tills: int) -> Iterator[Target]:
    """A box that is enrolled, has its catalogue and these tills; running while inside."""
    config = folder / "storebox.toml"
    config.write_text(
        f'state = "{folder / "box"}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n[mdns]\nenabled = false\n'
        "[disk]\nballast_mib = 1\n"
    )
    state = ("--state", str(folder / "cloud"))
    office = [program("storebox-cloud"), "run", *state, "--host", "127.0.0.1", "--port", "0"]
    with serving(office, folder / "cloud.log"):
        call([program("storebox-cloud"), "catalogue", "make", *state, "--articles", "100"])
        claim = folder / "claim"
        claim.write_bytes(call([program("storebox-cloud"), "claim", *state, "--shop", SHOP]))
        call([program("storebox"), "enrol", "--config", str(config), "--claim-file", str(claim)])
        log = folder / "box.log"
        with serving([program("storebox"), "run", "--config", str(config)], log) as box:
            paired = [_pair(config, f"till-{number + 1}") for number in range(tills)]
            host, _, port = box.url.removeprefix("https://").rpartition(":")
            spki = read_payload(_payload(config)).spki
            yield Target(host, int(port), spki, box.pid, paired, log)


def get(target: Target, path: str, till: Paired) -> bytes:
    """One answer. Raises Failed unless it is 200."""
    connection = http.client.HTTPSConnection(
        target.host, target.port, context=pinned_context(target.spki, till.identity), timeout=10
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {till.token}"})
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        raise Failed(f"GET {path} was answered {answer.status}: {body[:300]!r}")
    return body


def _payload(config: Path) -> str:
    opened = call([program("storebox"), "pairing", "open", "--config", str(config), "--json"])
    return str(json.loads(opened)["payload"])


def _pair(config: Path, name: str) -> Paired:
    invitation = read_payload(_payload(config))
    key = ec.generate_private_key(ec.SECP256R1())
    host, _, port = invitation.addresses[0].rpartition(":")
    connection = http.client.HTTPSConnection(
        host, int(port), context=pinned_context(invitation.spki), timeout=10
    )
    with contextlib.closing(connection):
        body = msgspec.json.encode(PairRequest(csr(key, name), name, invitation.secret))
        connection.request("POST", "/v1/pair", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = answer.read()
    if answer.status != 201:
        raise Failed(f"{name} was not paired: {answer.status} {told[:300]!r}")
    pairing = msgspec.json.decode(told, type=PairAnswer)
    return Paired(name, pairing.token, private_pem(key).decode(), pairing.certificate)
