"""Tests of additions to a wheelhouse: other versions, packages to be built, and broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.wheel import Wheel
from pytest_cosmos_venv.errors import ToolkitMisuse
from tests.pytest_cosmos_venv.environments.installing import Install

pytest_plugins = ["pytester"]


def test_the_shared_folder_stays_as_it_is_and_additions_are_the_tests_own(
    cosmos_dbt: CosmosDbt, tmp_path: Path
) -> None:
    before = sorted(cosmos_dbt.path.iterdir())
    options = cosmos_dbt.pip_install_options

    wheel = cosmos_dbt.add_dbt("1.9.0")

    assert options == ["--no-index", "--find-links", str(cosmos_dbt.path)]
    assert cosmos_dbt.pip_install_options == [*options, "--find-links", str(wheel.parent)]
    assert wheel.is_relative_to(tmp_path)
    assert sorted(cosmos_dbt.path.iterdir()) == before


def test_two_that_an_installer_could_not_tell_apart_are_refused(cosmos_dbt: CosmosDbt) -> None:
    cosmos_dbt.add_sdist("dbt-harbor", "1.0")

    for add in (
        lambda: cosmos_dbt.add_adapter("duckdb", dbt="dbt-core>=1.9"),
        lambda: cosmos_dbt.add_broken("truncated", version="1.10.0"),
        lambda: cosmos_dbt.add_sdist("dbt-core", "1.10.0"),
        lambda: cosmos_dbt.add_dbt("1.10"),
        lambda: cosmos_dbt.add_adapter("harbor", "1.0"),
    ):
        with pytest.raises(ToolkitMisuse, match=r"is in the wheelhouse already, as dbt_\S+, and .* another version"):
            add()


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        pytest.param("conflicting-pins", {"pip": "ResolutionImpossible", "uv": "No solution found"}, id="pins"),
        pytest.param("truncated", {"pip": "dbt-core", "uv": "Failed to read from zip file"}, id="truncated"),
    ],
)
def test_what_cannot_be_installed_fails_in_the_installers_words(
    breakage: str, words: dict[str, str], install: Install
) -> None:
    install.wheelhouse.add_broken(breakage)

    exit_code, output = install("dbt-core==99.0")

    assert exit_code != 0
    assert words[install.installer] in output


def test_what_is_broken_can_be_installed_and_then_fails(install: Install) -> None:
    install.wheelhouse.add_broken("import-error", "dbt-harbor")
    install.wheelhouse.add_broken("no-console-script")
    install.wheelhouse.add_broken("wrong-record", "dbt-other")

    exit_code, output = install("dbt-harbor", "dbt-other")

    assert exit_code == 0, output
    assert install.installed == {"dbt_core", "dbt_harbor", "dbt_other"}  # and no bin/dbt
    code = "import dbt.adapters.other; import dbt.adapters.harbor"
    failed = subprocess.run(
        [sys.executable, "-c", code], cwd=install.target, capture_output=True, text=True, check=False
    )
    assert "ImportError: this fake of dbt-harbor was made to fail when it is imported" in failed.stderr
    record = next(install.target.glob("dbt_other-*.dist-info/RECORD")).read_text(encoding="utf-8")
    assert "dbt/adapters/other/__init__.py,sha256=AAAA" in record


def test_any_wheel_can_be_added(cosmos_dbt: CosmosDbt) -> None:
    wheel = cosmos_dbt.add(Wheel(name="harbor-tools", version="1.0", files={"harbor_tools.py": ""}))

    assert wheel.name == "harbor_tools-1.0-py3-none-any.whl"
