"""Nothing secret where it does not belong: the tree, what is shipped, logs, answers, exports.

Two ways to look: for the live secrets of a run, and for what any secret of ours looks like.
"""

import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.processes import call, program
from campaigns.hostile.shop import get, open_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[3]
LOOKS_SECRET = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(?:[A-Za-z0-9+/=]{16,}\s+)+-----END"),
    "a claim": re.compile(rb"sbc1\.[A-Za-z0-9_-]{60,}"),
    "a pairing": re.compile(rb"storebox:pair\?[^\s\"]*\bs=[A-Za-z0-9_-]{22,64}(?=[&\s\"])"),
}
MADE_ON_THE_BOX = (
    "etc/ssh/ssh_host_*_key",
    "var/lib/storebox/*",
    "var/lib/dbus/machine-id",
    "etc/storebox/*.pem",
)
# Keys that everybody has: GnuTLS tests itself with them (its lib/crypto-selftests-pk.c), and they open nothing.
PUBLISHED = "usr/lib/*/libgnutls.so.30*"
# Tests show what such texts look like; theirs open nothing.
INVENTED = ("tests/",)


class Text(NamedTuple):
    """Something that people may see, and what it is called."""

    name: str
    data: bytes


def found(texts: Iterable[Text], live: Iterable[bytes] = ()) -> list[str]:
    """Each secret found: what it is and where, never itself."""
    faults = []
    for text in texts:
        faults += [
            f"{what} in {text.name}" for what, looks in LOOKS_SECRET.items() if looks.search(text.data)
        ]
        faults += [f"a live secret in {text.name}" for secret in live if secret in text.data]
    return faults


def files(folder: Path, names: Iterable[str] | None = None) -> Iterator[Text]:
    for path in map(folder.joinpath, names) if names is not None else folder.rglob("*"):
        if path.is_file():
            yield Text(str(path.relative_to(folder)), path.read_bytes())


def tracked() -> list[str]:
    """The files of the tree that are, or are about to be, in the repository."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    told = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in told.decode().split("\0") if name]


def test_no_secret_is_in_the_repository() -> None:
    names = [name for name in tracked() if not name.startswith(INVENTED)]

    assert len(names) > 200
    assert found(files(ROOT, names)) == []


def test_no_secret_is_in_what_is_shipped(tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    for name in tracked():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    wheel = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-qq",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    )
    subprocess.run([*wheel, str(copy)], check=True, capture_output=True)
    [built] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        shipped = [Text(name, archive.read(name)) for name in archive.namelist()]

    assert any(text.name == "appliance/runtime/tls.py" for text in shipped)
    assert not [text.name for text in shipped if text.name.endswith((".pem", ".key", ".token", ".db"))]
    assert found(shipped) == []


def test_no_secret_is_in_the_images_that_were_built() -> None:
    roots = [path for path in ROOT.glob(".image/*/root") if path.is_dir()]
    if not roots:
        pytest.skip("no image was built here: make image")
    for root in roots:
        # Each box makes its own of these; one in the image would be everybody's.
        made = [path for kind in MADE_ON_THE_BOX for path in root.glob(kind) if path.is_file()]
        assert [str(path) for path in made if path.stat().st_size and not path.is_symlink()] == []
        assert passwords(root / "etc/shadow") == []
        assert found(text for text in files(root) if not fnmatch(text.name, PUBLISHED)) == []


def passwords(shadow: Path) -> list[str]:
    """Who could log in by one."""
    lines = shadow.read_text().splitlines() if shadow.exists() else []
    return [line.split(":")[0] for line in lines if line.split(":")[1][:1] not in ("!", "*")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Text], list[bytes]]:
    """What a box and its head office said and gave away in a run, and the secrets that they had."""
    folder = tmp_path_factory.mktemp("shop")
    config = ("--config", str(folder / "storebox.toml"))
    seen: list[Text] = []
    with open_shop(folder, 1) as target:
        [till] = target.tills
        console = (folder / "box" / "console-token").read_bytes().strip()
        opened = json.loads(call([program("storebox"), "pairing", "open", *config, "--json"]))
        pairing = re.search(r"[?&]s=([^&]+)", opened["payload"])
        assert pairing is not None
        for command in (("status", "--json"), ("identity", "--json"), ("tills", "list", "--json")):
            seen.append(Text(" ".join(command), call([program("storebox"), *command, *config])))
        for path in ("/v1/status", "/v1/hello", "/metrics", "/openapi.json"):
            seen.append(Text(path, get(target, path, till)))
        audit = [program("storebox-cloud"), "audit", "--state", str(folder / "cloud"), "--json"]
        seen.append(Text("audit", call(audit)))
        live = [till.token.encode(), console, pairing[1].encode()]
        seen += packed(call([program("storebox"), "diagnostics", *config, "--to", "-"]))
    claim = (folder / "claim").read_bytes().strip()
    # The middle of each key as its file has it: without the frame that all keys share.
    keys = [*folder.glob("box/*key*.pem"), *folder.glob("cloud/*key*")]
    assert len(keys) >= 5
    live += [claim, *(b"".join(key.read_bytes().splitlines()[1:-1])[20:60] for key in keys)]
    live += [path.read_bytes().strip() for path in folder.glob("cloud/*.token")]
    call([program("storebox"), "export", *config, "--to", str(folder / "export")])
    seen += [*files(folder / "export"), *(Text(log.name, log.read_bytes()) for log in folder.glob("*.log"))]
    seen += [Text(f"journal {path.name}", path.read_bytes()) for path in folder.glob("box/journal.db*")]
    return seen, live


def packed(archive: bytes) -> list[Text]:
    """The files of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return [Text(entry.name, tar.extractfile(entry).read()) for entry in tar]  # type: ignore[union-attr]


def test_no_secret_is_in_logs_answers_journal_export_or_diagnostics(
    run: tuple[list[Text], list[bytes]],
) -> None:
    seen, live = run

    diagnosed = {f"storebox-diagnostics/{name}" for name in ("status.json", "events.ndjson", "log.txt")}
    assert {"box.log", "cloud.log", "audit", "/metrics", *diagnosed} <= {text.name for text in seen}
    assert len(seen) >= 10
    assert all(len(secret) >= 20 for secret in live)
    assert found(seen, live) == []


def test_planted_secrets_are_found(run: tuple[list[Text], list[bytes]]) -> None:
    _, live = run
    key = (
        b"-----BEGIN "
        + b"PRIVATE KEY-----\n"
        + b"MC4CAQAwBQYDK2VwBCIEIK" * 2
        + b"\n-----END PRIVATE KEY-----\n"
    )
    planted = [Text("key", key), Text("claim", b"the claim is sbc1." + b"e" * 80)]
    planted.append(Text("pairing", b"storebox:pair?v=1&s=" + b"a" * 22 + b"&n=S"))
    planted += [Text(f"live {n}", b"event: " + secret + b"!") for n, secret in enumerate(live)]

    faults = found(planted, live)

    assert {fault.rpartition(" in ")[2] for fault in faults} == {text.name for text in planted}
