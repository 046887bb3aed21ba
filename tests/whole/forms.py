"""The DAG that a form makes, as plain data: with cosmos-venv in a test, with Cosmos as a script of its own.

A form is an argument as a DAG file writes it, such as ``RenderConfig(select=["tag:daily"])``, or several.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

# What decides about the command of a task. Whether packages are installed Cosmos sees when it builds the DAG, here the
# running task does.
ATTRIBUTES = """
append_env args cache_selected_only dbt_cmd_flags dbt_cmd_global_flags dbt_executable_path emit_datasets env exclude
fail_fast full_refresh indirect_selection is_virtualenv_dir_temporary log_format macro_name models no_version_check
on_warning_callback output_encoding owner partial_parse pip_install_options pool priority_weight project_dir
py_requirements py_system_site_packages queue quiet retries select selector should_store_compiled_sql
should_upload_compiled_sql skip_exit_code task_display_name trigger_rule vars virtualenv_dir warn_error
""".split()
NAMES = """
DbtResourceType ExecutionConfig ExecutionMode InvocationMode LoadMode RenderConfig SeedRenderingBehavior
SourceRenderingBehavior TestBehavior TestIndirectSelection
""".split()


def made(root: str, form: Sequence[str], folder: Path) -> dict[str, Any]:
    """What the DAG of a form consists of, or the text of the error that refuses it.

    :param root: the package whose classes are taken: ``cosmos_venv`` or ``cosmos``.
    :param form: expressions of configurations, of ``DbtTaskGroup``, and ``operator_args={...}``.
    :param folder: holds ``project``, with a manifest and ``dbt_ls.jsonl``, and a script ``dbt`` that lists its nodes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _made(root, form, folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return {"error": f"{error}".replace(str(folder), "/dbt")}


def _made(root: str, form: Sequence[str], folder: Path) -> dict[str, Any]:
    from airflow.sdk import DAG, task

    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:

        @task
        def tide() -> dict[str, str]:
            return {}

        package = import_module(root)
        names = {**_names(root, folder), "tide": tide()}
        arguments = {
            "group_id": "dbt",
            "project_config": names["ProjectConfig"](),
            "profile_config": names["ProfileConfig"](),
            "execution_config": package.ExecutionConfig(dbt_executable_path=names["DBT"]),
        }
        for each in form:
            arguments |= _given(package, names, each)
        group = package.DbtTaskGroup(**arguments)
    return {**_shape(dag, root, folder), "load_method": group.dbt_graph.load_method.value}


def _names(root: str, folder: Path) -> dict[str, Any]:
    package, project = import_module(root), folder / "project"
    of_project = {"dbt_project_path": project, "manifest_path": project / "manifest.json"}

    def profile(**given: Any) -> Any:
        source = {} if "profile_mapping" in given else {"profiles_yml_filepath": project / "profiles.yml"}
        return package.ProfileConfig(**{"profile_name": "harbor", "target_name": "dev", **source, **given})

    return {
        **{name: getattr(package, name) for name in NAMES},
        "PostgresUserPasswordProfileMapping": import_module(f"{root}.profiles").PostgresUserPasswordProfileMapping,
        "ProjectConfig": lambda **given: package.ProjectConfig(**{**of_project, **given}),
        "ProfileConfig": profile,
        "DbtTaskGroup": dict,
        "hook": _hook,
        "own_id": lambda node: f"own_{node.name}",
        "no_task": lambda **_: None,
        "PROJECT": project,
        "DBT": str(folder / "dbt"),
    }


def _given(package: Any, names: Mapping[str, Any], expression: str) -> dict[str, Any]:
    """The arguments of DbtTaskGroup that one expression of a form stands for."""
    prefix = "operator_args="
    value = eval(expression.removeprefix(prefix), dict(names))  # noqa: S307 - of the page
    if expression.startswith(prefix):
        return {"operator_args": value}
    if isinstance(value, dict):
        return value
    kinds = ("Project", "Profile", "Execution", "Render")
    (kind,) = (each for each in kinds if isinstance(value, getattr(package, f"{each}Config")))
    return {f"{kind.lower()}_config": value}


def _hook(*_: Any, **__: Any) -> None:
    """A function for a parameter that takes one; no DAG calls it while it is built."""


def _shape(dag: Any, root: str, folder: Path) -> dict[str, Any]:
    tasks = {each.task_id: each for each in dag.tasks if each.task_id != "tide"}
    return {
        "operators": {
            key: f"{type(each).__module__}.{type(each).__name__}".removeprefix(f"{root}.")
            for key, each in tasks.items()
        },
        "edges": sorted([key, after] for key, each in tasks.items() for after in each.downstream_task_ids),
        "after_tide": sorted(dag.get_task("tide").downstream_task_ids),
        "attributes": {
            key: {name: value for name in ATTRIBUTES if (value := _attribute(each, name, folder))}
            for key, each in tasks.items()
        },
    }


def _attribute(task: Any, name: str, folder: Path) -> Any:
    """An attribute of a task. Cosmos selects the node of some tasks by its name, where cosmos-venv does by its fqn."""
    value = _plain(getattr(task, name, None), folder)
    node = getattr(task, "extra_context", {}).get("dbt_node_config", {}).get("resource_name")
    is_fqn = name in ("select", "models") and node and f"{value}".startswith("fqn:") and value.endswith(f".{node}")
    return node if is_fqn else value


def _plain(value: Any, folder: Path) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(each, folder) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, folder) for each in value]
    if callable(value):
        return getattr(value, "__name__", "")
    return value if isinstance(value, bool | int | float | None) else str(value).replace(str(folder), "/dbt")


def main(root: str, folder: str, forms: str) -> None:
    """Write what each form makes, as a JSON list, to standard output.

    :param root: as for ``made``.
    :param folder: as for ``made``.
    :param forms: the forms as JSON.
    """
    with contextlib.redirect_stdout(sys.stderr):
        import airflow  # noqa: F401 - Cosmos cannot be imported before it

        found = [made(root, form, Path(folder)) for form in json.loads(forms)]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
