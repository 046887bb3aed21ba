"""Fixtures, marks and options in the reference are those of the plugin, and what has no entry is refused."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from pytest_cosmos_venv.plugin import FIXTURES
from tools.site.toolkit_page import FILES, Recorder, fixtures_text, marks_text, options_text
from tools.site.undocumented import Undocumented


def headings(text: str) -> list[str]:
    return [line.strip("# `") for line in text.splitlines() if line.startswith("## ")]


def test_all_fixtures_are_told_that_the_plugin_registers() -> None:
    registered = {name for module in FIXTURES for name in vars(import_module(module)) if name.startswith("cosmos_")}

    told = headings(fixtures_text())

    assert set(told) == registered
    assert told == sorted(told)


def test_a_fixture_is_told_with_its_docstring_its_type_and_its_scope(tmp_path: Path) -> None:
    file = tmp_path / "fixtures.py"
    file.write_text(
        "@pytest.fixture(scope='session')\n"
        "def cosmos_pier(tmp: Path) -> Iterator[Pier]:\n"
        "    '''A pier.\n\n    With ``ships``.\n\n    :param tmp: a folder.\n    '''\n"
        "@pytest.fixture\n"
        "def _cosmos_hidden() -> None: ...\n"
        "def pytest_configure(config: Config) -> None: ...\n"
    )

    assert fixtures_text([file]).splitlines() == [
        "## `cosmos_pier`",
        "",
        "A pier.",
        "",
        "With ``ships``.",
        "",
        "- Type: `Pier`",
        "- Scope: one for each session",
    ]


def test_a_fixture_without_docstring_or_type_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "fixtures.py"
    file.write_text("@pytest.fixture\ndef cosmos_pier():\n    return 1\n")

    with pytest.raises(Undocumented) as refused:
        fixtures_text([*FILES, file])

    assert refused.value.missing == ("the fixture cosmos_pier has no docstring", "the fixture cosmos_pier has no type")


def test_the_marks_are_those_that_pytest_shows() -> None:
    assert headings(marks_text()) == ["cosmos_fault", "cosmos_race"]


def test_a_mark_without_a_sentence_is_refused() -> None:
    module = ModuleType("marks")
    module.pytest_configure = lambda config: config.addinivalue_line("markers", "pier(x):")  # type: ignore[attr-defined]

    with pytest.raises(Undocumented, match=r"^the mark pier has no sentence$"):
        marks_text([module])


def test_an_option_is_told_with_its_value_and_its_name_in_the_ini_file() -> None:
    recorder = Recorder()
    recorder.addoption("--pier", metavar="NAME", help="Which pier.")
    recorder.addini("pier", "As --pier.")
    recorder.addini("ships", "Which ships.", type="linelist")

    assert [line for line in options_text(recorder).splitlines() if line] == [
        "## Options of the command line",
        "`--pier=NAME`",
        ": Which pier.",
        "  In the ini file: `pier`.",
        "## Settings of the ini file alone",
        "`ships`",
        ": Which ships.",
    ]


def test_former_names_are_not_told() -> None:
    assert "deadline" not in options_text()


@pytest.mark.parametrize("name", ["--pier", "pier"])
def test_an_option_or_setting_without_help_is_refused(name: str) -> None:
    recorder = Recorder()
    if name.startswith("-"):
        recorder.addoption(name)
    else:
        recorder.addini(name, "")

    with pytest.raises(Undocumented, match=f"^{name} has no help$"):
        options_text(recorder)
