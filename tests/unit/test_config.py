"""Plain HTTP is for one machine alone, and what a program may do is said in its configuration."""

from pathlib import Path

import pytest

from appliance.config import Config, Lan, load_config
from appliance.domain.errors import ConfigError
from cloud.config import Settings, known_url, settings_from, url_of


def box_config(folder: Path, lines: str) -> Config:
    (folder / "storebox.toml").write_text(f'state = "{folder}"\n{lines}')
    return load_config(folder / "storebox.toml")


def test_a_box_speaks_tls_unless_told_otherwise(tmp_path: Path) -> None:
    assert box_config(tmp_path, "").lan.tls == "1.3"
    assert box_config(tmp_path, '[lan]\nhost = "127.0.0.1"\ntls = "off"\n').lan.tls == "off"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.20", "::"])  # noqa: S104
def test_a_box_that_others_reach_never_speaks_plain_http(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"storebox\.toml.*loopback.*lan"):
        box_config(tmp_path, f'[lan]\nhost = "{host}"\ntls = "off"\n')


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::", {"192.168.1.20", "fd77::1", "127.0.0.1", "::1"}),
        ("0.0.0.0", {"192.168.1.20", "127.0.0.1"}),  # noqa: S104
        ("192.168.1.20", {"192.168.1.20", "127.0.0.1"}),
        ("fd77::1", {"fd77::1", "::1"}),
        ("127.0.0.1", {"127.0.0.1"}),
    ],
)
def test_a_box_is_reached_where_it_listens_and_by_its_own_commands(host: str, reached: set[str]) -> None:
    lan = Lan(host=host)

    assert {a for a in ("192.168.1.20", "fd77::1", "127.0.0.1", "::1") if lan.reaches(a)} == reached


@pytest.mark.parametrize(
    "lines", ['[lan]\ntls = "1.1"\n', '[claim]\nauthority = "short"\n', "[limits]\nconnections_max = 0\n"]
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, lines: str) -> None:
    with pytest.raises(ConfigError):
        box_config(tmp_path, lines)


def test_head_office_speaks_plain_http_only_alone_or_behind_proxies(tmp_path: Path) -> None:
    flags = {"state": None, "host": "192.168.1.20", "port": None, "tls": "off"}
    with pytest.raises(ConfigError, match="loopback"):
        settings_from(None, **flags)  # type: ignore[arg-type]

    (tmp_path / "cloud.toml").write_text('proxies = ["10.0.0.1"]\n')
    assert settings_from(tmp_path / "cloud.toml", **flags).tls == "off"  # type: ignore[arg-type]
    assert Settings().tls == "on"


@pytest.mark.parametrize(
    "lines",
    [
        'proxies = ["proxy.example"]',
        'names = ["https://head.example"]',
        'names = ["head.example:8490"]',
        'names = [""]',
        'host = "0.0.0.0"',
    ],
)
def test_names_and_proxies_of_head_office_must_be_what_they_are_called(tmp_path: Path, lines: str) -> None:
    (tmp_path / "cloud.toml").write_text(lines)

    with pytest.raises(ConfigError):
        settings_from(tmp_path / "cloud.toml", state=None, host=None, port=None, tls=None)


def test_a_claim_says_the_first_name_of_head_office(tmp_path: Path) -> None:
    assert url_of(Settings(), 8490) == "https://127.0.0.1:8490"
    assert url_of(Settings(host="::1", tls="off"), 80) == "http://[::1]:80"
    assert url_of(Settings(names=["head.example", "10.0.0.1"]), 443) == "https://head.example:443"
    proxied = Settings(names=["head.example"], tls="off", proxies=["10.0.0.1"])
    assert url_of(proxied, 8490) == "https://head.example", "a proxy listens at its own port"
    assert known_url(Settings(state=tmp_path)) == "https://127.0.0.1:8490"

    with pytest.raises(ConfigError, match="start head office once"):
        known_url(Settings(state=tmp_path, port=0))
    (tmp_path / "url").write_text("http://127.0.0.1:40001")
    assert known_url(Settings(state=tmp_path, port=0)) == "http://127.0.0.1:40001"
