"""The page "Managing seeds" with real dbt on DuckDB: what stands in the table proves whether dbt has run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import LoadMode, SeedRenderingBehavior
from pytest_cosmos_venv import RunDag, Variables
from tests.real_seeds import Harbor, needs_real_dbt
from tests.whole.test_real_packages import git

pytestmark = [pytest.mark.long, needs_real_dbt]


@pytest.fixture
def harbor(dbt_project: Path, cosmos_run_dag: RunDag, cosmos_variables: Variables) -> Harbor:
    return Harbor(dbt_project, cosmos_run_dag)


def test_a_seed_is_loaded_when_its_content_has_changed_and_only_then(harbor: Harbor) -> None:
    text = harbor.csv.read_bytes()

    assert harbor.run()
    assert not harbor.run()
    harbor.csv.touch()
    assert not harbor.run()
    harbor.csv.write_bytes(text + b"2,South\n")
    assert harbor.run()
    assert not harbor.run()
    harbor.csv.unlink()
    harbor.csv.write_bytes(text + b"2,South\n")
    assert not harbor.run()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: b"\xef\xbb\xbf" + content, id="byte-order-mark", marks=pytest.mark.exhaustive),
        pytest.param(lambda content: content.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(lambda content: content.rstrip(b"\n"), id="no-final-newline", marks=pytest.mark.exhaustive),
    ],
)
def test_every_byte_is_a_change(change: Callable[[bytes], bytes], harbor: Harbor) -> None:
    assert harbor.run()
    harbor.csv.write_bytes(change(harbor.csv.read_bytes()))

    assert harbor.run()
    assert not harbor.run()


def test_a_full_refresh_loads_each_time_and_the_next_run_skips_what_was_remembered_before(harbor: Harbor) -> None:
    assert harbor.run()
    assert harbor.run(full_refresh=True)
    assert harbor.run(full_refresh="{{ 1 == 1 }}")
    assert harbor.run(dbt_cmd_flags=["-f"])
    assert not harbor.run()
    assert not harbor.run(full_refresh="{{ 1 == 2 }}")


def test_all_ways_of_loading_agree_and_folders_do_not_count(harbor: Harbor) -> None:
    assert harbor.run(group="north")

    assert not harbor.run(group="north", load_method=LoadMode.DBT_LS)
    assert not harbor.run(group="north", group_nodes_by_folder=True)
    assert not harbor.run(group="north", load_method=LoadMode.DBT_MANIFEST, manifest=harbor.make_manifest())


def test_a_renamed_dag_starts_afresh_and_a_group_remembers_for_itself(harbor: Harbor) -> None:
    assert harbor.run("harbor")
    assert harbor.run("port")
    assert harbor.run("port", group="north")

    assert not harbor.run("harbor")
    assert not harbor.run("port")
    assert not harbor.run("port", group="north")


def test_a_seed_that_always_runs_is_loaded_each_time_and_remembers_nothing(
    harbor: Harbor, cosmos_variables: Variables
) -> None:
    assert harbor.run(behavior=SeedRenderingBehavior.ALWAYS)
    assert harbor.run(behavior=SeedRenderingBehavior.ALWAYS)

    assert not cosmos_variables.values


def test_a_seed_that_is_only_shown_is_never_loaded(harbor: Harbor) -> None:
    assert harbor.run(behavior=SeedRenderingBehavior.ALWAYS)

    assert not harbor.run(behavior=SeedRenderingBehavior.RENDER_ONLY)


def test_a_seed_in_another_folder_is_compared(harbor: Harbor) -> None:
    (harbor.project / "dbt_project.yml").write_text("name: harbor\nprofile: harbor\nseed-paths: [data]\n")
    harbor.csv = harbor.csv.parent.rename(harbor.project / "data") / "piers.csv"

    assert harbor.run(select=["path:data"])
    assert not harbor.run(select=["path:data"])
    harbor.csv.write_text("id,name\n2,South\n")
    assert harbor.run(select=["path:data"])


def test_a_seed_of_a_local_package_is_compared(harbor: Harbor, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "seeds").mkdir(parents=True)
    (shared / "dbt_project.yml").write_text("name: ports\nversion: '1.0'\n")
    (harbor.project / "packages.yml").write_text("packages:\n  - local: ../shared\n")
    harbor.csv = harbor.csv.rename(shared / "seeds" / "piers.csv")
    of_package: dict[str, Any] = {"load_method": LoadMode.DBT_LS, "select": ["package:ports"]}

    assert harbor.run(**of_package)
    assert not harbor.run(**of_package)
    harbor.csv.write_text("id,name\n2,South\n")
    assert harbor.run(**of_package)


@pytest.mark.skipif(shutil.which("git") is None, reason="git packages need git")
def test_a_seed_of_an_installed_package_is_compared_once_the_package_is_kept(
    harbor: Harbor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading the DAG by dbt ls installs it before any task runs."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    ports = tmp_path / "remote" / "ports"
    (ports / "seeds").mkdir(parents=True)
    (ports / "dbt_project.yml").write_text("name: ports\nversion: '1.0'\n")
    harbor.csv = harbor.csv.rename(ports / "seeds" / "piers.csv")
    git(ports, "init", "-q", "-b", "main")
    git(ports, "add", ".")
    git(ports, "commit", "-q", "-m", "one")
    (harbor.project / "packages.yml").write_text(f"packages:\n  - git: file://{ports}\n    revision: main\n")
    of_package: dict[str, Any] = {"load_method": LoadMode.DBT_LS, "select": ["package:ports"]}

    assert harbor.run(**of_package)
    assert not harbor.run(**of_package)
    harbor.csv.write_text("id,name\n2,South\n")
    git(ports, "commit", "-q", "-a", "-m", "two")
    assert not harbor.run(**of_package), "an installation is used for an hour"
    shutil.rmtree(tmp_path / "cache" / "packages-v1")
    assert harbor.run(**of_package), "this dbt is the one that installs it"
    assert harbor.run(**of_package), "so what that was is known from now on"
    assert not harbor.run(**of_package)
