"""Tests of additions to a wheelhouse: other versions, packages to be built, and any wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.wheel import Wheel
from pytest_cosmos_venv.errors import ToolkitMisuse

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
        lambda: cosmos_dbt.add_sdist("dbt-core", "1.10.0"),
        lambda: cosmos_dbt.add_dbt("1.10"),
        lambda: cosmos_dbt.add_adapter("harbor", "1.0"),
    ):
        with pytest.raises(ToolkitMisuse, match=r"is in the wheelhouse already, as dbt_\S+, and .* another version"):
            add()


def test_any_wheel_can_be_added(cosmos_dbt: CosmosDbt) -> None:
    wheel = cosmos_dbt.add(Wheel(name="harbor-tools", version="1.0", files={"harbor_tools.py": ""}))

    assert wheel.name == "harbor_tools-1.0-py3-none-any.whl"
