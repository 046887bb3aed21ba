"""The words of each task, as a real dbt resolves them, are exactly what the plan shows for it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from cosmos_venv import DbtDag, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from tests.installed import environment_of
from tests.rendering.drawn_projects import DrawnProject, drawn_projects

ANSWERS = Path(__file__).with_name("dbt_answers.py")


class AskedDbt:
    """A process of a real dbt, which is asked for the nodes of commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, folder: Path, commands: list[list[str]]) -> list[list[str]]:
        """:raises UnsatisfiedAssumption: dbt refuses the project."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), commands]) + "\n")
        self._process.stdin.flush()
        answer: list[list[str]] | str = json.loads(self._process.stdout.readline())
        assume(not isinstance(answer, str))
        assert not isinstance(answer, str)
        return answer


@pytest.fixture(scope="module")
def asked_dbt() -> Iterator[AskedDbt]:
    with subprocess.Popen(
        [environment_of("dbt111") / "bin" / "python", ANSWERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield AskedDbt(process)
        assert process.stdin is not None
        process.stdin.close()


BUILT = ("model.", "seed.", "snapshot.")


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(project=drawn_projects())
def test_each_task_runs_what_the_plan_shows_for_it_and_all_tasks_together_the_selection(
    project: DrawnProject, asked_dbt: AskedDbt, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name, "shop")
        project.write(folder)
        asked_dbt.ask(folder, [])

        expected, words = planned(folder, project.render)
        answers = asked_dbt.ask(folder, [*words.values(), ["all", *flags_of(project.render)]])

    resolved = dict(zip(words, map(set, answers), strict=False))
    assert resolved == expected, words
    selected = {each for each in answers[-1] if each.startswith(BUILT)}
    assert selected == {each for nodes in expected.values() for each in nodes if each.startswith(BUILT)}


def planned(folder: Path, render: dict[str, Any]) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    """By task id: the nodes that the plan shows for it, and the words of its command."""
    dag = DbtDag(
        dag_id="shop",
        project_config=ProjectConfig(folder, manifest_path=folder / "target" / "manifest.json"),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, **render),
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


def flags_of(render: dict[str, Any]) -> list[str]:
    """The user's selection as words of dbt."""
    named = {name: render[name] for name in ("select", "exclude") if name in render}
    words = [word for name, values in named.items() for word in (f"--{name}", *values)]
    return [*words, *(["--selector", render["selector"]] if "selector" in render else [])]
