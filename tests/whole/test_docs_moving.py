"""The page docs/how-to/moving.md is as it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator, DbtVirtualenvBaseOperator
from tests.rendering.recorded_project import RECORDED
from tests.whole.page_blocks import blocks_in

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "moving.md").read_text(encoding="utf-8")
DAG, POOL, MISSING = blocks_in(PAGE, "python")


def test_the_dag_of_the_page_is_built_and_takes_its_pool(tmp_path: Path) -> None:
    project = tmp_path / "harbor"
    (project / "models").mkdir(parents=True)
    shutil.copy(RECORDED / "dbt_project.yml", project)
    names: dict[str, Any] = {"PROJECT": project, "MANIFEST": RECORDED / "manifest.json"}

    exec(DAG, names)  # noqa: S102 - as a user copies it
    tasks = [task for task in names["harbor"].tasks if isinstance(task, DbtVirtualenvBaseOperator)]
    exec(POOL, names)  # noqa: S102
    task = DbtRunVirtualenvOperator(
        task_id="run", project_dir=project, profile_config=tasks[0].profile_config, **names["operator_args"]
    )

    assert {each.virtualenv_dir for each in tasks} == {"/opt/airflow/dbt-environments"}
    assert task.pool == "harbor_duckdb"


def test_a_name_that_is_not_here_is_refused_in_the_words_of_the_page() -> None:
    comment, statement = MISSING.strip().splitlines()
    words = comment.partition("raises ImportError: ")[2]

    with pytest.raises(ImportError, match=re.escape(words)):
        exec(statement)  # noqa: S102
