"""`storebox-provision` against the real head office and the real box, over TLS: exit codes, JSON, no secrets told."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.enrolling import read_claim
from provisioning.cli import run

SCRIPTS = Path(sys.executable).parent
# The box announces nothing here: discovery has tests of its own, and a shared network is none of ours.
BOX = 'state = "{state}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n[mdns]\nenabled = false\n'


class Cloud:
    """A running head office and its command line."""

    def __init__(self, state: Path, url: str) -> None:
        self.state = state
        self.url = url
        self.pin = self.do("authority", "show")
        self.technician = self.do("technician-token", "--shop", "S042", "--name", "ana")

    def do(self, *arguments: str) -> str:
        command = [str(SCRIPTS / "storebox-cloud"), *arguments, "--state", str(self.state)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()


def started(*command: str | Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state = tmp_path_factory.mktemp("cloud")
    process, line = started(SCRIPTS / "storebox-cloud", "run", "--state", state, "--port", "0")
    with process:
        yield Cloud(state, line.split()[1])
        process.terminate()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """An unclaimed box: where it is, its id, the hash of its key."""
    config = tmp_path / "box.toml"
    config.write_text(BOX.format(state=tmp_path / "state"))
    process, line = started(SCRIPTS / "storebox", "run", "--config", config)
    with process:
        word, url, name, fp = line.split()
        assert word == "unclaimed"
        yield url, name, fp
        process.terminate()


@pytest.fixture
def ana(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The technician's environment."""
    monkeypatch.setenv("STOREBOX_CLOUD_URL", cloud.url)
    monkeypatch.setenv("STOREBOX_AUTHORITY", cloud.pin)
    monkeypatch.setenv("STOREBOX_TECHNICIAN_TOKEN", cloud.technician)


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The one JSON value that a command prints."""
    assert run([*arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_claim_carries_head_office_and_its_pin(
    ana: None, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(capsys, "claim", "--shop", "S042", "--name", "Nantes")

    claim = read_claim(answer["claim"])
    assert (claim.url, claim.pin, claim.shop, answer["state"]) == (cloud.url, cloud.pin, "S042", "made")


def test_a_claim_that_is_written_down_is_read_by_its_owner_alone_and_not_printed(
    ana: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(capsys, "claim", "--shop", "S042", "--to", str(tmp_path / "claim"))

    assert read_claim((tmp_path / "claim").read_text()).shop == "S042"
    assert (tmp_path / "claim").stat().st_mode & 0o777 == 0o600
    assert "claim" not in answer


def test_a_box_is_brought_in_swapped_and_revoked(
    ana: None,
    cloud: Cloud,
    box: tuple[str, str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, name, fp = box

    done = told(capsys, "claim", "--shop", "S042", "--box", url, "--key-hash", fp)
    assert (done["box"], done["state"], "claim" in done) == (name, "ready", False)
    assert run(["claim", "--shop", "S042", "--box", url]) == 1  # it is in a shop
    report = told(capsys, "doctor", "--box", url, "--seconds", "0.1")
    assert {"cloud-reached", "tls-1-3", "trusted", "certificate"} <= {f["code"] for f in report["findings"]}

    (tmp_path / "second").mkdir()
    config = tmp_path / "second" / "box.toml"
    config.write_text(BOX.format(state=tmp_path / "second" / "state"))
    process, line = started(SCRIPTS / "storebox", "run", "--config", config)
    with process:
        _, second_url, second, _ = line.split()
        swapped = told(capsys, "swap", "--old", name, "--box", second_url)
        process.terminate()
    assert (swapped["box"], swapped["replaces"], swapped["shop"]) == (second, name, "S042")
    report = told(capsys, "doctor", "--box", url, "--seconds", "0.1", code=1)
    assert "box-revoked" in {finding["code"] for finding in report["findings"]}
    assert told(capsys, "revoke", "--box", second, "--reason", "stolen") == {"box": second, "revoked": True}
    states = {row["box"]: row["state"] for row in json.loads(cloud.do("box", "list", "--json"))}
    assert (states[name], states[second]) == ("revoked", "revoked")


def test_a_box_with_another_key_than_its_label_gets_no_claim(
    ana: None, cloud: Cloud, box: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = cloud.do("audit")

    assert run(["claim", "--shop", "S042", "--box", box[0], "--key-hash", "A" * 43]) == 1
    assert "another box" in capsys.readouterr().err
    assert cloud.do("audit") == before


def test_a_label_is_drawn_of_what_the_box_says(
    box: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = told(capsys, "label", "--from", box[0], "--out", str(tmp_path / "label.png"))

    assert (answer["box"], answer["key_hash"]) == box[1:]


def test_what_head_office_refuses_ends_with_3(ana: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["claim", "--shop", "S001"]) == 3
    assert run(["revoke", "--box", "sb-nobody", "--reason", "x"]) == 3
    assert run(["swap", "--old", "sb-nobody"]) == 3
    assert "S042" in capsys.readouterr().err


def test_who_cannot_prove_who_he_is_ends_with_4_and_hears_no_token(
    ana: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for pin in ("A" * 43, ""):  # another chain's pin; the system's trust store
        monkeypatch.setenv("STOREBOX_AUTHORITY", pin)
        assert run(["claim", "--shop", "S042"]) == 4
    monkeypatch.setenv("STOREBOX_CLOUD_URL", "https://127.0.0.1:9")
    assert run(["claim", "--shop", "S042"]) == 4
    assert run(["label", "--from", "127.0.0.1:9", "--out", "label.png"]) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["claim", "--shop", "S042", "--cloud", "http://shop.example"],
        ["claim", "--shop", "S042", "--cloud", "ftp://shop.example"],
        ["claim", "--shop", "S042", "--token-file", "/nowhere"],
        ["label", "--from", "a/b", "--out", "label.png"],
        ["discover", "--interface", "203.0.113.77", "--seconds", "0.1"],
    ],
)
def test_misuse_ends_with_2(ana: None, arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["claim"],
        ["claim", "--shop", "S042", "--minutes", "11"],
        ["claim", "--shop", "S042", "--key-hash", "x"],
    ],
)
def test_bad_options_end_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2


def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOREBOX_CLOUD_URL", "STOREBOX_AUTHORITY", "STOREBOX_TECHNICIAN_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    assert run(["claim", "--shop", "S042"]) == 2


def test_the_doctor_speaks_french_to_the_french(
    ana: None, box: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")

    assert run(["doctor", "--box", box[0], "--seconds", "0.1"]) == 0
    assert "n’est d’aucun magasin" in capsys.readouterr().out
