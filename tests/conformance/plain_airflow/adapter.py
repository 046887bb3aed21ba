"""An adapter to the helper: it translates arguments, and has Airflow run the task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from pytest_cosmos_venv.conformance.adapter import COMMANDS, Task
from pytest_cosmos_venv.conformance.cosmos_layout import CosmosLayout

_FLAGS = {
    "select": "--select",
    "exclude": "--exclude",
    "selector": "--selector",
    "profile_name": "--profile",
    "target_name": "--target",
}


class PlainAirflowAdapter(CosmosLayout):
    """Judges Airflow's PythonVirtualenvOperator, used as ``plain_airflow`` uses it."""

    import_root = "airflow.providers.standard"
    version = metadata.version("apache-airflow-providers-standard")
    profiles: ClassVar[frozenset[str]] = frozenset()
    has: ClassVar[frozenset[str]] = frozenset(
        {*COMMANDS.values(), "deps", "native_dbt", "partial_parse", "system_site_packages", "vars"}
    )

    def modules(self) -> Sequence[str]:
        return ["plain_airflow.dbt_task"]

    def make_task(self, task: Task, **arguments: Any) -> Any:
        from airflow import DAG

        from .dbt_task import dbt_task

        given = task.arguments
        flags = ["--profiles-dir", str(Path(str(task.profile["profiles_yml_filepath"])).parent)]
        command = [*task.command.split(), *_words(given), *_flags(given), *_flags(task.profile), *flags]
        deps = [["deps", *_flags(task.profile), *flags]] if given.get("install_deps") else []
        return dbt_task(
            [*deps, command],
            project_dir=str(given["project_dir"]),
            requirements=given.get("py_requirements") or (),
            venv_cache_path=None if given.get("is_virtualenv_dir_temporary") else given.get("virtualenv_dir"),
            pip_install_options=given.get("pip_install_options"),
            system_site_packages=given.get("py_system_site_packages", False),
            env=given.get("env"),
            inherit_env=given.get("append_env", True),
            **{"task_id": "task", "dag": DAG("plain"), **arguments},
        )


def _words(given: Mapping[str, Any]) -> list[str]:
    macro = [str(given["macro_name"])] if "macro_name" in given else []
    refresh = ["--full-refresh"] if given.get("full_refresh") else []
    parse = ["--no-partial-parse"] if given.get("partial_parse") is False else []
    values = ["--vars", json.dumps(given["vars"])] if given.get("vars") else []
    return [*macro, *refresh, *parse, *values, *given.get("dbt_cmd_flags", ())]


def _flags(given: Mapping[str, Any]) -> list[str]:
    return [word for name, flag in _FLAGS.items() if given.get(name) for word in (flag, str(given[name]))]
