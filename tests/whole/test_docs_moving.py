"""The page docs/how-to/moving.md is as it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator, DbtVirtualenvBaseOperator
from cosmos_venv.settings.table import SETTINGS
from tests.kit import harbor_profile
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


# Those of [cosmos] that 1.16.0a3 reads.
SETTINGS_OF_COSMOS = """
cache_dir dbt_docs_conn_id dbt_docs_dir dbt_docs_index_file_name debug_memory_poll_interval_seconds
default_copy_dbt_packages enable_cache enable_cache_dbt_ls enable_cache_dbt_yaml_selectors enable_cache_package_lockfile
enable_cache_partial_parse enable_cache_profile enable_dag_versioning enable_dags_folder_exclusion_from_dbt
enable_dataset_alias enable_debug_mode enable_hierarchical_naming_for_group_nodes_by_folder enable_lax_selector_parsing
enable_memory_optimised_imports enable_orjson_parser enable_semantic_metric_view_reclassification
enable_setup_async_task enable_teardown_async_task enable_telemetry enable_uri_xcom enable_watcher_reliable_retry
pre_dbt_fusion profile_cache_dir_name project_hash_excluded_dirs remote_cache_dir remote_cache_dir_conn_id
remote_target_path remote_target_path_conn_id rich_logging upload_sql_to_xcom use_dataset_airflow3_uri_standard
virtualenv_max_retries_lock watcher_dbt_consumer_queue watcher_dbt_execution_queue watcher_dbt_producer_queue
watcher_dbt_retry_queue
""".split()


def test_the_page_names_each_setting_of_cosmos_that_has_no_effect() -> None:
    read = {name for key, each in SETTINGS.items() if each.is_also_cosmos for name in (key, each.older_name)}

    table = PAGE.partition("have no effect:")[2].partition("There are no operators for containers")[0]
    assert {*re.findall(r"`(\w+)`", table)} == {*SETTINGS_OF_COSMOS} - read


def test_the_full_refresh_of_default_args_stands_first_and_reaches_the_tasks() -> None:
    first = PAGE.partition("## Before the first run")[2].split()[0]
    task = DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=RECORDED,
        profile_config=harbor_profile(RECORDED),
        py_requirements=["dbt-core"],
        default_args={"full_refresh": True},
    )

    assert first == '**`default_args={"full_refresh":'
    assert task.build_cmd({})[0][-1] == "--full-refresh"


def test_a_name_that_is_not_here_is_refused_in_the_words_of_the_page() -> None:
    comment, statement = MISSING.strip().splitlines()
    words = comment.partition("raises ImportError: ")[2]

    with pytest.raises(ImportError, match=re.escape(words)):
        exec(statement)  # noqa: S102
