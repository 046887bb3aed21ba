"""The refusal of an environment in which dbt, or an adapter that was asked for, cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.dbt.installation import DBT_CHECK


def put(folder: Path, *names: str, **modules: str) -> None:
    """Metadata folders, and modules with their text."""
    for name in names:
        (folder / name).mkdir(parents=True)
    for module, text in modules.items():
        file = folder.joinpath(*module.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def check(*folders: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]!r}\n{DBT_CHECK}"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)


def test_dbt_and_its_adapters_are_imported(tmp_path: Path) -> None:
    put(
        tmp_path,
        "dbt_core-1.11.2.dist-info",
        "dbt_duckdb-1.10.0.dist-info",
        "dbt_adapters-1.19.0.dist-info",
        "DBT.Post_GRES-1.0.egg-info",
        "dbt_no_such_adapter-1.dist-info",
        "click-8.dist-info",
        dbt__cli__main="print('main')",
        dbt__adapters__duckdb="print('duckdb')",
        dbt__adapters__post_gres="print('post_gres')",
        dbt__adapters__sqlite="print('of no distribution')",
    )

    *imported, found = check(tmp_path, tmp_path / "is not there").stdout.rstrip().split("\n\n")

    assert imported == ["main\nduckdb\npost_gres"]
    assert found == '{"provides": {"engine": "python", "version": "1.11.2"}}'


def test_without_dbt_it_says_what_to_add(tmp_path: Path) -> None:
    put(tmp_path, "dbt_adapters-1.19.0.dist-info", dbt__adapters__base="")

    refused = check(tmp_path)

    assert refused.returncode == 1
    assert refused.stderr.startswith("dbt is not installed: name dbt-core, or a dbt adapter that brings it")


@pytest.mark.parametrize("broken", ["dbt__cli__main", "dbt__adapters__duckdb"])
def test_what_cannot_be_imported_is_told_with_its_own_words(tmp_path: Path, broken: str) -> None:
    modules = {"dbt__cli__main": "", "dbt__adapters__duckdb": "", broken: "import snaplite"}
    put(tmp_path, "dbt_core-1.11.2.dist-info", "dbt_duckdb-1.10.0.dist-info", **modules)

    refused = check(tmp_path)

    assert refused.returncode == 1
    assert "No module named 'snaplite'" in refused.stderr


def test_distributions_of_another_folder_of_the_path_count_too(tmp_path: Path) -> None:
    put(tmp_path / "worker", "dbt_core-1.11.2.dist-info", dbt__cli__main="print('main')")
    (tmp_path / "own").mkdir()

    assert check(tmp_path / "own", tmp_path / "worker").stdout.startswith("main\n")


def test_a_private_build_of_another_name_is_imported_too(tmp_path: Path) -> None:
    put(tmp_path, "harbor_dbt-3.0.dist-info", dbt__cli__main="print('main')")

    assert check(tmp_path).stdout == 'main\n\n{"provides": {"engine": "python", "version": ""}}\n'
