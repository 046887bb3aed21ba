"""The DAG of the page about two releases has tasks of both, and needs two environments."""

from __future__ import annotations

from pathlib import Path

from cosmos_venv.cli.dag_files import read_dag_files
from tests.installed import ROOT
from tests.rendering.recorded_project import RECORDED
from tests.whole.page_blocks import blocks_in

PAGE = (ROOT / "docs" / "how-to" / "environments" / "two-releases-in-one-dag.md").read_text(encoding="utf-8")
PROJECT = '"/opt/airflow/dbt/harbor"'


def test_each_group_of_the_page_runs_its_own_release(tmp_path: Path) -> None:
    (block,) = blocks_in(PAGE, "python")
    assert PROJECT in block
    manifest = f"{str(RECORDED)!r}, manifest_path={str(RECORDED / 'manifest.json')!r}"
    text = block.replace(PROJECT, manifest).replace("/opt/airflow/dbt/harbor/profiles.yml", f"{RECORDED}/profiles.yml")
    text = text.replace("/opt/airflow/dbt-environments", str(tmp_path / "environments"))
    (tmp_path / "harbor.py").write_text(
        text.replace("from airflow.sdk import DAG", "from cosmos_venv.compat import DAG")
    )

    found = read_dag_files([tmp_path / "harbor.py"], begin=str)

    assert found.failures == []
    requirements = {tuple(wanted.arguments.py_requirements or ()) for wanted in found.wanted}
    assert requirements == {
        ("dbt-core~=1.10.0", "dbt-duckdb~=1.10.0"),
        ("dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"),
    }
