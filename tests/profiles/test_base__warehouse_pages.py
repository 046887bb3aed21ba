"""The pages docs/how-to/warehouses/: each Connection that they show becomes the profile that they show."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cosmos_venv import ProfileConfig
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import (
    AthenaAccessKeyProfileMapping,
    BaseProfileMapping,
    get_automatic_profile_mapping,
    profile_mappings,
)
from tests.whole.page_blocks import blocks_in

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "warehouses"
INDEX = FOLDER / "index.md"
HEAD = "| field of the form | dbt field | |"
NAMED = re.compile(r"\b(\w+(?:ProfileMapping|ServerAuth))\(")

# Airflow's AWS hook reads these of a Connection, and finds others where it has none.
OF_THE_HOOK = {
    "aws_access_key_id": "login",
    "aws_secret_access_key": "password",
    "aws_session_token": "extra.aws_session_token",
}

pytestmark = pytest.mark.usefixtures("aws_hook")


class Shown(NamedTuple):
    """What a page says of one class."""

    page: str
    rows: set[str]
    connection: str
    python: str
    profile: str


def rows_of(text: str) -> set[str]:
    return {line for table in text.split(HEAD)[1:] for line in table.partition("\n\n")[0].splitlines()[2:]}


def shown_on(page: Path) -> dict[str, Shown]:
    """Each class of a page; rows before the first heading count for all of them."""
    before, *sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: dict[str, Shown] = {}
    for section in sections:
        python = blocks_in(section, "python")
        for code in python:
            (name,) = NAMED.findall(code)
            (connection,), (profile,) = blocks_in(section, "bash"), blocks_in(section, "yaml")
            found[name] = Shown(page.name, rows_of(before) | rows_of(section), connection, code, profile)
    return found


PAGES = [page for page in sorted(FOLDER.glob("*.md")) if page != INDEX]
SHOWN = {name: shown for page in PAGES for name, shown in shown_on(page).items()}


def form_of(airflow_field: str) -> str:
    return f"Extra: `{airflow_field[6:]}`" if airflow_field.startswith("extra.") else airflow_field.capitalize()


def sources_of(cls: type[BaseProfileMapping]) -> dict[str, str | Sequence[str]]:
    """Each dbt field of a class, and the Airflow fields that give its value; none for one of ``profile_args`` alone."""
    mapped = {**(OF_THE_HOOK if cls is AthenaAccessKeyProfileMapping else {}), **cls.airflow_param_mapping}
    arguments = [name for name in (*cls.required_fields, *cls.needed_by_dbt) if name not in mapped]
    return {**mapped, **dict.fromkeys(arguments, ())}


def expected_rows(cls: type[BaseProfileMapping]) -> list[str]:
    """The row of each dbt field of a class: where its value stands, and whether dbt needs it."""
    required = {*cls.required_fields, *cls.needed_by_dbt, *cls.secret_fields}
    needed = required - {*cls.optional_in_dbt, *OF_THE_HOOK}
    rows = []
    for name, mapped in sources_of(cls).items():
        fields = (mapped,) if isinstance(mapped, str) else mapped
        # Two forms of Airflow 2.2 and older are left out of the pages' tables.
        forms = [form_of(each) for each in fields if not each.startswith(("extra__", "keyfile_dict"))]
        words = [
            *(["required"] if name in needed and name not in cls.default_values else []),
            *(["from Airflow's AWS hook"] if name in OF_THE_HOOK else []),
            *(["secret"] if name in cls.secret_fields else []),
            *([f"otherwise `{cls.default_values[name]}`"] if name in cls.default_values else []),
        ]
        cells = (" or ".join(forms) or "none, only `profile_args`", f"`{name}`", ", ".join(words))
        rows.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return rows


def test_each_class_has_its_entry() -> None:
    assert sorted(SHOWN) == sorted(cls.__name__ for cls in profile_mappings)


def test_the_index_names_each_class_beside_its_page() -> None:
    rows = re.findall(r"^ *\| [^|]+ \| \[.*?\]\((\S+?\.md)(?:#\S+)?\) \| `(\w+)` \|", INDEX.read_text(), re.MULTILINE)
    (tree,) = re.findall(r"```\{toctree\}\n:maxdepth: 1\n(.*?)```", INDEX.read_text(), re.DOTALL)

    assert {name: page for page, name in rows} == {name: shown.page for name, shown in SHOWN.items()}
    assert [f"{name}.md" for name in tree.split()] == [page.name for page in PAGES]


@pytest.mark.parametrize("cls", profile_mappings, ids=lambda cls: cls.__name__)
def test_the_table_names_each_field(cls: type[BaseProfileMapping]) -> None:
    expected = expected_rows(cls)

    assert SHOWN[cls.__name__].rows == {*expected}, "the page wants:\n" + "\n".join(expected)


@pytest.mark.parametrize("name", SHOWN)
def test_the_connection_becomes_the_profile(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = SHOWN[name]
    word, variable = shlex.split(shown.connection)
    monkeypatch.setenv(*variable.split("=", 1))
    names: dict[str, Any] = {}

    exec(shown.python, names)  # noqa: S102 - as a user copies it
    config: ProfileConfig = names["profile_config"]
    mapping = config.profile_mapping

    assert word == "export"
    assert isinstance(mapping, BaseProfileMapping)
    assert type(mapping).__name__ == name
    mapping.validate()
    (show,) = blocks_in(INDEX.read_text(), "python")
    exec(show, names)  # noqa: S102 - likewise
    assert capsys.readouterr().out == shown.profile + "\n"
    assert [value for value in mapping.env_vars.values() if value in shown.profile] == []
    if name != "StarrocksUserPasswordProfileMapping":
        chosen = get_automatic_profile_mapping(mapping.conn_id, mapping.profile_args)
        assert type(chosen) is type(mapping)


def without(connection: dict[str, Any], place: str) -> dict[str, Any]:
    """A Connection that lacks what a row names, such as ``Login or Extra: `client_id```."""
    extra = dict(connection.get("extra", {}))
    fields = {name: value for name, value in connection.items() if name != "extra"}
    for field in place.split(" or "):
        fields.pop(field.lower(), None)
        extra.pop(field.removeprefix("Extra: ").strip("`"), None)
    return {**fields, "extra": extra}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_required_is_an_error_where_it_is_missing_and_the_rest_is_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = SHOWN[name]
    names: dict[str, Any] = {}
    exec(shown.python, names)  # noqa: S102 - as a user copies it
    mapping = names["profile_config"].profile_mapping
    connection = json.loads(shlex.split(shown.connection)[1].partition("=")[2])

    for row in shown.rows:
        if "AWS hook" in row:
            continue
        place, field, word = (cell.strip() for cell in row.strip("|").split("|"))
        arguments = {key: value for key, value in mapping.profile_args.items() if key != field.strip("`")}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(without(connection, place)))
        tried = type(mapping)("warehouse", arguments)
        if "required" in word:
            with pytest.raises(CosmosValueError, match=rf"no value for .*{field.strip('`')}"):
                tried.validate()
        else:
            tried.validate()
