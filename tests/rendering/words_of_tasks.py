"""The nodes that the tasks of a DAG show, beside the nodes that a real dbt runs for the words of these tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cosmos_venv import DbtDag, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from tests.rendering.asked_dbt import AskedDbt
from tests.rendering.drawn_projects import DrawnProject

BUILT = ("model.", "seed.", "snapshot.")
SELECTION = "the selection"


def wrong_words(project: DrawnProject, asked: AskedDbt, folder: Path) -> tuple[dict[str, Any], int]:
    """Return what is wrong, by task id, and how many commands dbt was asked for.

    The whole selection stands under ``SELECTION``: all tasks together build the nodes of the selection.

    :param project: it is written into the folder.
    :param asked: the dbt to ask.
    :param folder: does not exist.
    :raises ProjectRefused: dbt reports an error in the project.
    """
    project.write(folder)
    asked.parse(folder)
    expected, words = _planned(folder, project.render)
    answers = asked.ask(folder, [*words.values(), ["all", *flags_of(project.render)]])
    resolved = dict(zip(words, map(set, answers), strict=False))
    resolved[SELECTION] = _built(answers[-1])
    expected[SELECTION] = _built(each for nodes in expected.values() for each in nodes)
    words[SELECTION] = flags_of(project.render)
    wrong = {
        task_id: {"words": words[task_id], "plan": sorted(nodes), "dbt": sorted(resolved[task_id])}
        for task_id, nodes in expected.items()
        if resolved[task_id] != nodes
    }
    return wrong, len(answers)


def flags_of(render: Mapping[str, Any]) -> list[str]:
    """Return the user's selection as words of dbt.

    :param render: arguments of RenderConfig.
    """
    named = {name: render[name] for name in ("select", "exclude") if name in render}
    words = [word for name, values in named.items() for word in (f"--{name}", *values)]
    return [*words, *(["--selector", render["selector"]] if "selector" in render else [])]


def _built(nodes: Iterable[str]) -> set[str]:
    return {each for each in nodes if each.startswith(BUILT)}


def _planned(folder: Path, render: dict[str, Any]) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    """By task id: the nodes that the plan shows for it, and the words of its command."""
    dag = DbtDag(
        dag_id="shop",
        project_config=ProjectConfig(folder, manifest_path=folder / "target" / "manifest.json"),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, allow_empty_selection=True, **render),
        profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=folder / "profiles.yml"),
    )
    tests = {each: node for each, node in dag.dbt_graph.filtered_nodes.items() if "test" in node.resource_type.value}
    apart = tests.keys() & dag.tasks_map.keys()
    expected, words = {}, {}
    tasks: list[Any] = [task for task in dag.tasks if hasattr(task, "build_cmd")]
    for task in tasks:
        node_id = task.extra_context["dbt_node_config"]["unique_id"]
        kind, *flags = task.build_cmd({})[0][1:]
        own = {each for each, test in tests.items() if node_id in test.depends_on} - apart
        expected[task.task_id] = ({node_id} if kind != "test" or node_id in tests else set()) | (
            own if kind in ("test", "build") and node_id not in tests else set()
        )
        words[task.task_id] = [kind, *(flag for flag in flags if flag != "freshness")]
    return expected, words
