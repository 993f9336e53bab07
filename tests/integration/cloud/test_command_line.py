"""`storebox-cloud`: exit codes, what it prints, what it refuses."""

import json
import random
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from appliance.domain import gtin
from appliance.domain.enrolling import read_claim
from appliance.domain.gate import BUILT_IN
from cloud import cli
from cloud.articles import make_articles, read_articles
from cloud.database import alone, plain_connection
from cloud.migrate import migrate
from cloud.tables import metadata

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> list[str]:
    return ["--state", str(tmp_path / "cloud")]


def test_the_head_office_token_stays_the_same_and_is_kept_from_others(
    tmp_path: Path, state: list[str], capsys: Capture
) -> None:
    cli.run(["admin-token", *state])
    cli.run(["admin-token", *state])

    first, second = capsys.readouterr().out.split()
    assert first == second
    for name in ("head-office.token", "cloud.key"):
        assert stat.S_IMODE((tmp_path / "cloud" / name).stat().st_mode) == 0o600


def test_tokens_can_be_printed_as_json(state: list[str], capsys: Capture) -> None:
    assert cli.run(["claim", "--shop", "S042", "--name", "Nantes Centre", "--json", *state]) == 0
    assert cli.run(["till-token", "--shop", "S042", "--till", "T1", "--json", *state]) == 0

    enrol, till = map(json.loads, capsys.readouterr().out.splitlines())
    assert (enrol["shop"], till["till"]) == ("S042", "T1")
    assert read_claim(enrol["claim"]).secret != till["token"]


def test_the_first_policy_is_the_built_in_one(state: list[str], capsys: Capture) -> None:
    assert cli.run(["policy", "show", "--json", *state]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["version"] == 1
    assert set(shown["online_only"]) == set(BUILT_IN.online_only)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a policy"),
        ('{"online_only":{"deposit":{"fr":"Non."}}}', "missing required field `en`"),
        ('{"online_only":{"De posit":{"fr":"Non.","en":"No."}}}', "not a policy"),
        ('{"online_only":{"deposit":{"fr":"Non.","en":"No.","line_type":[]}}}', "unknown field `line_type`"),
        ('{"online_only":{},"version":1}', "is not above version 1"),
        ('{"online_only":{"deposit":{"fr":"%s","en":"No."}}}' % ("x" * 50_000), "at most"),
    ],
)
def test_a_bad_policy_is_refused_and_the_old_one_stays(
    tmp_path: Path, state: list[str], capsys: Capture, text: str, says: str
) -> None:
    (tmp_path / "policy.json").write_text(text)

    assert cli.run(["policy", "import", str(tmp_path / "policy.json"), *state]) == 1

    assert says in capsys.readouterr().err
    cli.run(["policy", "show", *state])
    assert capsys.readouterr().out.startswith("policy 1\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["claim"],
        ["claim", "--shop", ""],
        ["claim", "--shop", "S042", "--minutes", "0"],
        ["claim", "--shop", "S042", "--minutes", "11"],
        ["catalogue", "make", "--articles", "x"],
        ["run", "--port", "x"],
    ],
)
def test_misuse_ends_with_two(arguments: list[str], state: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run([*arguments, *state] if len(arguments) > 1 else arguments)

    assert end.value.code == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("prot = 8490", "prot"),
        ("port = 70000", "$.port"),
        ("port = ", "Invalid value"),
        ("state = 5", "$.state"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, capsys: Capture, settings: str, says: str) -> None:
    (tmp_path / "cloud.toml").write_text(settings)

    assert cli.run(["admin-token", "--config", str(tmp_path / "cloud.toml")]) == 2

    error = capsys.readouterr().err
    assert "cloud.toml" in error
    assert says in error


def test_a_file_that_is_not_there_is_a_failure(state: list[str], capsys: Capture) -> None:
    assert cli.run(["catalogue", "import", "nowhere.tsv", *state]) == 1
    assert "nowhere.tsv" in capsys.readouterr().err


def test_a_damaged_key_is_never_replaced(tmp_path: Path, state: list[str], capsys: Capture) -> None:
    cli.run(["admin-token", *state])
    (tmp_path / "cloud" / "cloud.key").write_text("damaged")

    assert cli.run(["admin-token", *state]) == 2

    assert (tmp_path / "cloud" / "cloud.key").read_text() == "damaged"


def test_a_database_of_a_newer_release_is_left_alone(
    tmp_path: Path, state: list[str], capsys: Capture
) -> None:
    cli.run(["admin-token", *state])
    path = tmp_path / "cloud" / "cloud.db"
    with alone(path), plain_connection(path) as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    assert cli.run(["policy", "show", *state]) == 1

    assert "does not belong to this release" in capsys.readouterr().err


def test_a_table_of_real_articles_gets_prices_that_depend_on_seed_and_code_alone(tmp_path: Path) -> None:
    codes = ["4006381333931", "2000000000527"]
    (tmp_path / "one.tsv").write_text("gtin\tname\n" + "".join(f"{code}\tname\n" for code in codes))
    (tmp_path / "two.tsv").write_text(f"{codes[1]}\tname\tmore\n")

    one = list(read_articles(tmp_path / "one.tsv", seed=1))
    two = list(read_articles(tmp_path / "two.tsv", seed=1))

    assert one[1:] == two
    assert [article.unit for article in one] == ["each", "kg"]
    assert one != list(read_articles(tmp_path / "one.tsv", seed=2))


def test_a_made_catalogue_is_the_same_for_a_seed_and_has_valid_codes(
    state: list[str], capsys: Capture
) -> None:
    cli.run(["catalogue", "make", "--seed", "3", *state])
    cli.run(["catalogue", "make", "--seed", "3", *state])

    first, second = capsys.readouterr().out.splitlines()
    assert first == "catalogue 1: 500 articles, 500 changed, 0 deleted"
    assert second == "catalogue 1: 500 articles, 0 changed, 0 deleted"


def test_made_articles_have_valid_codes_and_some_are_weighed() -> None:
    articles = list(make_articles(200, 1, random.Random(1)))

    assert all(gtin.normalise(article.article_id) for article in articles)
    assert {article.article_id for article in articles if article.unit == "kg"} == {
        article.article_id for article in articles if article.article_id.startswith("2")
    }
    assert 0 < sum(article.unit == "kg" for article in articles) < 50


def test_the_tables_are_those_that_the_code_knows(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    with alone(path):
        migrate(path)

    with plain_connection(path) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
