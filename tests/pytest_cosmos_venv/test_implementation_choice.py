"""Which implementation is chosen, and what is said when none can be?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_cosmos_venv import Implementation, ImplementationError, find_implementation
from pytest_cosmos_venv.implementation import only_one


def test_the_only_installed_one_is_taken() -> None:
    assert only_one(["cosmos_venv"]) == "cosmos_venv"


def test_several_installed_and_none_named_is_an_error_that_lists_them() -> None:
    with pytest.raises(ImplementationError, match=r"\(cosmos, cosmos_venv\): say which one with --cosmos-implement"):
        only_one(["cosmos", "cosmos_venv"])


def test_none_installed_is_an_error_that_says_what_to_install() -> None:
    words = "install astronomer-cosmos (cosmos) or cosmos-venv (cosmos_venv)"

    with pytest.raises(ImplementationError, match=re.escape(words)):
        only_one([])


def test_a_named_one_is_taken_with_the_version_of_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_implementation"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported to be found')", encoding="utf-8")
    information = tmp_path / "some_distribution-3.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-distribution\nVersion: 3.1\n", "utf-8")
    (information / "top_level.txt").write_text("some_implementation\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    found = find_implementation("some_implementation")

    assert found == Implementation(import_root="some_implementation", version="3.1")


@pytest.mark.parametrize("named", ["no_such_package", "no_such_package.below"])
def test_a_named_one_that_is_not_there_is_an_error_that_names_it(named: str) -> None:
    with pytest.raises(ImplementationError, match=f"--cosmos-implementation={named}: no package {named} can be"):
        find_implementation(named)


@pytest.mark.parametrize("named", ["", "module:Adapter", "../folder", "a..b"])
def test_what_cannot_be_an_import_root_is_refused(named: str) -> None:
    with pytest.raises(ImplementationError, match="is no import root: give a package name such as cosmos_venv"):
        find_implementation(named)


def test_a_bare_folder_is_no_implementation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dbt_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ImplementationError, match="no package dbt_folder can be imported"):
        find_implementation("dbt_folder")
