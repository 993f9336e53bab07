"""Settings: right, or refused with the name of what is wrong."""

from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import ConfigError
from appliance.runtime.settings import convert_settings, load_settings


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    every_s: float = 5.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Path
    line: Line
    ports: list[int] = []


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "box.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_becomes_a_frozen_type_with_paths_and_tables(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'state = "/var/lib/storebox"\nports = [1, 2]\n[line]\nurl = "http://é"\nevery_s = 3\n'
    )

    assert load_settings(path, Settings) == Settings(Path("/var/lib/storebox"), Line("http://é", 3.0), [1, 2])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('state = "x"\nlater = 1\n[line]\nurl = ""', "later"),
        ('state = "x"\n[line]\nurl = ""\nevery = 1', r"every.*\$\.line"),
        ('[line]\nurl = ""', "state"),
        ('state = "x"\n[line]\n', r"url.*\$\.line"),
        ('state = 5\n[line]\nurl = ""', r"path.*int.*\$\.state"),
        ('state = "x"\nports = [1, "2"]\n[line]\nurl = ""', r"\$\.ports\[1\]"),
        ('state = "x"\nports = 1979-05-27\n[line]\nurl = ""', r"\$\.ports"),
        ('state = "x"\nstate = "y"\n', "line 2"),
        ("state = \n", "line 1"),
        (b'state = "\xff"', "utf-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str | bytes, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as refused:
        load_settings(written(tmp_path, text), Settings)

    assert "box.toml" in str(refused.value)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"box\.toml: No such file"):
        load_settings(tmp_path / "box.toml", Settings)
    with pytest.raises(ConfigError, match="directory"):
        load_settings(tmp_path, Settings)


def test_a_table_from_elsewhere_is_named_by_its_origin() -> None:
    assert convert_settings({"url": "u"}, Line, origin="--set") == Line("u")
    with pytest.raises(ConfigError, match=r"--set: .*url"):
        convert_settings({}, Line, origin="--set")
