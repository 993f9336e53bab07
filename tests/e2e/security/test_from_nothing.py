"""From a box that knows nothing to the first sale: real daemons, real TLS, the technician's real commands.

Nothing is typed: what is secret goes by file, by wire, or by standard input, and is on no command line.
"""

import json
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from appliance.runtime.clock import SystemClock
from bench.processes import call, program, python, serving
from cloud.articles import make_articles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CATALOGUE_WITHIN_S = 180.0
PAIRED_WITHIN_S = 10.0
SHOP = "S042"
monotonic_s = SystemClock().monotonic
SECRET = re.compile(rb"sbc1\.|storebox:pair|PRIVATE KEY")


@contextmanager
def started(config: Path, log: Path) -> Iterator[IO[bytes]]:
    """The box's daemon; what it says."""
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [program("storebox"), "run", "--config", str(config)], stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()


def command_lines() -> bytes:
    """Of all programs of this machine right now."""
    lines = b""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines += (process / "cmdline").read_bytes() + b"\n"
        except OSError:
            continue  # it has ended
    return lines


def test_from_an_unclaimed_box_to_its_catalogue_and_a_paired_till(tmp_path: Path) -> None:
    config, state = tmp_path / "storebox.toml", ("--state", str(tmp_path / "cloud"))
    config.write_text(
        f'state = "{tmp_path / "box"}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n'
        '[mdns]\ninterfaces = ["127.0.0.1"]\n[disk]\nballast_mib = 1\n'
    )
    office = [program("storebox-cloud"), "run", *state, "--host", "127.0.0.1", "--port", "0"]
    with serving(office, tmp_path / "cloud.log") as cloud:
        call([program("storebox-cloud"), "catalogue", "make", *state, "--articles", "200"])
        technician = [program("storebox-cloud"), "technician-token", *state, "--shop", SHOP, "--name", "Ada"]
        (tmp_path / "token").write_bytes(call(technician))
        pin = call([program("storebox-cloud"), "authority", "show", *state, "--pin"]).decode().strip()
        with started(config, tmp_path / "box.log") as said:
            word, url, box, _ = said.readline().decode().split()
            assert word == "unclaimed"
            lines, begun_s = b"", monotonic_s()

            provision = [
                *python("-m", "provisioning.cli"),
                "claim",
                "--json",
                "--shop",
                SHOP,
                "--cloud",
                cloud.url,
            ]
            provision += ["--authority", pin, "--token-file", str(tmp_path / "token")]
            with subprocess.Popen(
                [*provision, "--box", url.removeprefix("https://")], stdout=subprocess.PIPE
            ) as claiming:
                while claiming.poll() is None:
                    lines += command_lines()
                assert claiming.stdout is not None
                claimed = json.loads(claiming.stdout.read())
            assert claiming.returncode == 0
            assert (claimed["box"], claimed["state"]) == (box, "ready")
            assert said.readline().split()[0] == b"ready"
            status = [program("storebox"), "status", "--json", "--config", str(config)]
            while json.loads(call(status))["articles"] != 200:
                assert monotonic_s() - begun_s < CATALOGUE_WITHIN_S
            catalogue_s = monotonic_s() - begun_s
            assert catalogue_s < CATALOGUE_WITHIN_S

            opened = json.loads(
                call([program("storebox"), "pairing", "open", "--json", "--config", str(config)])
            )
            begun_s = monotonic_s()
            till = ("--state", str(tmp_path / "till"), "--interface", "127.0.0.1")
            pair = [program("storebox-till"), "pair", *till, "--till", "till-1", "-"]
            call(pair, given=opened["payload"].encode())
            assert monotonic_s() - begun_s < PAIRED_WITHIN_S
            article = next(a.article_id for a in make_articles(200, 1, random.Random(1)) if a.unit == "each")
            sold = call([program("storebox-till"), "sell", *till, article])
            assert b"sold" in sold
            lines += command_lines()
            tills = json.loads(
                call([program("storebox"), "tills", "list", "--json", "--config", str(config)])
            )
            assert "till-1" in json.dumps(tills)
        assert not SECRET.search(lines)
