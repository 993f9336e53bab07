"""RAUC itself: real bundles under a throw-away authority, written, tried, kept, left and refused."""

import os
import subprocess
from pathlib import Path

import pytest

from appliance.domain.update import BundleInfo, Reason, Request, SlotsBusy, SlotsView, Verdict
from appliance.gateways.rauc import Rauc, RaucFailed
from appliance.storage.update_files import sha256_of
from bench.processes import call, program
from tests.e2e.updates.conftest import RAUC, SLOT_BYTES, Machine, bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def content(machine: Machine, slot: str) -> bytes:
    return (machine.folder / "slots" / slot).read_bytes()[: SLOT_BYTES // 4]


def test_a_release_is_written_beside_tried_once_and_kept(
    machine: Machine, keys: Path, tmp_path: Path
) -> None:
    fetched = bundle(tmp_path, keys)
    machine.fetch(fetched)
    assert machine.rauc.info(fetched) == BundleInfo("storebox-rpi", "0.2.0")
    assert machine.rauc.slots() == SlotsView("storebox-rpi", "storebox-a", "storebox-b")

    machine.ask("install", fetched)
    assert content(machine, "b2") == (tmp_path / "root.img").read_bytes()
    assert content(machine, "b1") == (tmp_path / "boot.img").read_bytes()
    assert content(machine, "a2") == bytes(SLOT_BYTES // 4)
    machine.start()
    assert machine.rauc.slots().booted == "storebox-a", "written is not yet tried"

    machine.ask("restart", fetched)
    assert (machine.restarts, machine.autoboot("all")) == (1, "2")
    machine.start()
    assert machine.rauc.slots().booted == "storebox-b"
    machine.installer().settle(Verdict)

    outcome = machine.records.outcome()
    assert outcome is not None
    assert (outcome.state, outcome.was) == ("updated", "0.1.0")
    machine.start()
    assert (machine.rauc.slots().booted, machine.autoboot("tryboot")) == ("storebox-b", "2")


def test_one_that_fails_its_proof_or_never_comes_up_is_left(
    machine: Machine, keys: Path, tmp_path: Path
) -> None:
    fetched = bundle(tmp_path, keys)
    for reason in (Reason.SALE_FAILED, Reason.NEVER_CAME_UP):
        machine.fetch(fetched)
        machine.ask("install", fetched)
        machine.ask("restart", fetched)
        machine.start()
        assert machine.rauc.slots().booted == "storebox-b"
        if reason is Reason.SALE_FAILED:
            machine.installer().settle(lambda: Verdict(Reason.SALE_FAILED, "no ack"))
        machine.start()
        machine.installer().settle(Verdict)

        assert machine.rauc.slots().booted == "storebox-a"
        outcome = machine.records.outcome()
        assert outcome is not None
        assert (outcome.state, outcome.reason) == ("rolled-back", reason)


def test_rauc_itself_refuses_what_is_not_ours_or_for_other_hardware(
    machine: Machine, keys: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    thief = tmp_path_factory.mktemp("thief")
    subprocess.run([RAUC / "authority", thief], check=True)
    forged, foreign = bundle(tmp_path, thief), bundle(tmp_path, keys, kind="amd64")
    altered = bundle(tmp_path, keys, version="0.2.1")
    body = bytearray(altered.read_bytes())
    body[len(body) // 2] ^= 1
    altered.write_bytes(body)

    for refused, why in (
        (forged, "signature verification failed"),
        (foreign, "Compatible mismatch|compatible"),
        (altered, "signature|digest"),
    ):
        with pytest.raises(RaucFailed, match=why):
            machine.rauc.install(refused)
    assert content(machine, "b2") == bytes(SLOT_BYTES // 4)


def test_a_root_unit_that_is_killed_while_rauc_writes_is_found_out_and_rauc_is_not_disturbed(
    machine: Machine, keys: Path, tmp_path: Path
) -> None:
    began, go_on = slowed(machine)
    fetched = bundle(tmp_path, keys)
    machine.fetch(fetched)
    config = tmp_path / "storebox.toml"
    config.write_text(
        f'state = "{tmp_path}"\n[update]\nsystem = "{machine.system}"\nrecords = "{tmp_path / "records"}"\n'
    )
    serve = [program("storebox"), "update", "serve", "--config", str(config)]
    request = Request("install", 1, "0.2.0", sha256_of(fetched))

    machine.files.ask(request)
    with subprocess.Popen(serve) as root_unit:
        began.read_bytes()  # RAUC's service is in the middle of it
        assert machine.records.at_work()
        root_unit.kill()
    assert (machine.records.at_work(), tries(machine)) == (False, 1)

    for ask in (machine.rauc.slots, machine.rauc.keep):
        with pytest.raises(SlotsBusy):
            ask()
    with pytest.raises(SlotsBusy):
        machine.rauc.install(fetched)
    machine.files.ask(request)
    call(serve)
    assert (machine.records.outcome(), tries(machine)) == (None, 2)

    go_on.write_bytes(b"on\n")
    while busy(machine):
        pass  # each question takes a while
    assert content(machine, "b2") == (tmp_path / "root.img").read_bytes()
    machine.ask("install", fetched)
    attempt = machine.records.attempt()
    assert attempt is not None
    assert (attempt.phase, attempt.slot, attempt.tries) == ("installed", "storebox-b", 3)


def slowed(machine: Machine) -> tuple[Path, Path]:
    """Have the first writing wait: a pipe that tells that it began, and one that lets it go on."""
    began, go_on, handler = (machine.folder / name for name in ("began", "go-on", "handler"))
    os.mkfifo(began)
    os.mkfifo(go_on)
    handler.write_text(
        f"#!/bin/sh\n[ -e {began}.once ] && exit\n>{began}.once\n>{began}\nread word <{go_on}\n"
    )
    handler.chmod(0o755)
    text = machine.system.read_text()
    machine.system.write_text(text.replace("[handlers]\n", f"[handlers]\npre-install={handler}\n"))
    machine.start()
    return began, go_on


def tries(machine: Machine) -> int:
    attempt = machine.records.attempt()
    return 0 if attempt is None else attempt.tries


def busy(machine: Machine) -> bool:
    try:
        machine.rauc.slots()
    except SlotsBusy:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "stolen", "reason"),
    [
        ("rpi", True, Reason.BAD_SIGNATURE),
        ("amd64", False, Reason.OTHER_HARDWARE),
    ],
)
def test_the_root_unit_names_why(
    machine: Machine,
    keys: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    stolen: bool,
    reason: Reason,
) -> None:
    signer = keys
    if stolen:
        signer = tmp_path_factory.mktemp("thief")
        subprocess.run([RAUC / "authority", signer], check=True)
    fetched = bundle(tmp_path, signer, kind=kind)
    machine.fetch(fetched)

    machine.ask("install", fetched)

    outcome = machine.records.outcome()
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("refused", reason)
    assert content(machine, "b2") == bytes(SLOT_BYTES // 4)


def test_the_recipe_makes_what_a_box_takes(keys: Path, tmp_path: Path) -> None:
    """The format of boxes, with the image's own configuration but for the place of the keyring."""
    for kind in ("amd64", "rpi"):
        system = tmp_path / f"{kind}.conf"
        text = (RAUC / f"system.{kind}.conf").read_text()
        text = text.replace("/etc/rauc/keyring.pem", str(keys / "keyring.pem"))
        system.write_text(text.replace("/var/lib/storebox-update", str(tmp_path)))

        made = bundle(tmp_path, keys, kind=kind, format="verity")

        assert Rauc(system).info(made) == BundleInfo(f"storebox-{kind}", "0.2.0")


def test_the_authority_s_keys_are_for_its_maker_alone_and_made_once(keys: Path) -> None:
    before = (keys / "keyring.pem").read_bytes()
    subprocess.run([RAUC / "authority", keys], check=True)

    assert (keys / "keyring.pem").read_bytes() == before
    assert {path.stat().st_mode & 0o077 for path in keys.glob("*.key")} == {0}
