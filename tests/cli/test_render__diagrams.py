"""A plan drawn for other tools says the same as the plan, whatever its names are made of."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from cosmos_venv.cli.render import to_dot, to_mermaid
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.rendering.model import (
    EMPTY,
    Plan,
    PlannedGroup,
    PlannedTask,
)
from tests.rendering.made import plan_of

PROJECT = Path(__file__).parent.parent / "data" / "rendering-project"
ODD = 'a "b" [c] {d} <e> #f; `g` | h\\n (i) ü end'


@dataclass
class Drawing:
    """The reading of a tool: labels by the path of groups around them, and edges between labelled things."""

    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)
    placeholders: set[str] = field(default_factory=set)


MERMAID = {
    "subgraph": re.compile(r'subgraph (\w+) \["([^"\[\]{}<>`|()\\]*)"\]'),
    "end": re.compile(r"end"),
    "edge": re.compile(r"(\w+) --> (\w+)"),
    "task": re.compile(r'(\w+)\["([^"\[\]{}<>`|()\\]*)"\]'),
    "placeholder": re.compile(r'(\w+)\(\["([^"\[\]{}<>`|()\\]*)"\]\)'),
}


def read_mermaid(text: str) -> Drawing:
    """:raises AssertionError: for a line that is no Mermaid of ours."""
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    drawing, around = Drawing(), []
    for line in lines:
        kind, found = next(
            (kind, found) for kind, each in MERMAID.items() if (found := each.fullmatch(line.strip())) is not None
        )
        if kind == "subgraph":
            around.append(unescaped(found[2]))
        elif kind == "end":
            around.pop()
        elif kind == "edge":
            drawing.edges.add((found[1], found[2]))
        else:
            drawing.labels[found[1]], drawing.places[found[1]] = unescaped(found[2]), tuple(around)
            drawing.placeholders |= {found[1]} if kind == "placeholder" else set()
    assert not around
    return drawing


def unescaped(label: str) -> str:
    """Mermaid writes HTML's entities with # for &#."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label))


DOT_TEXT = r'"((?:[^"\\]|\\.)*)"'
DOT_TASK = re.compile(rf"\s*{DOT_TEXT} \[(.*label={DOT_TEXT}.*)\];")
DOT_EDGE = re.compile(rf"\s*{DOT_TEXT} -> {DOT_TEXT}.*;")


def read_dot(text: str) -> Drawing:
    drawing = Drawing()
    for line in text.splitlines():
        if edge := DOT_EDGE.fullmatch(line):
            drawing.edges.add((dot_text(edge[1]), dot_text(edge[2])))
        elif task := DOT_TASK.fullmatch(line):
            drawing.labels[dot_text(task[1])] = dot_text(task[3])
            drawing.placeholders |= {dot_text(task[1])} if "dashed" in task[2] else set()
    return drawing


def dot_text(written: str) -> str:
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], written)


def task(task_id: str, group: str | None = None, operator: str = "operators.local.DbtRunLocalOperator") -> PlannedTask:
    return PlannedTask(task_id=task_id, group=group, operator=operator)


def group(group_id: str, label: str | None = None, parent: str | None = None) -> PlannedGroup:
    return PlannedGroup(group_id=group_id, label=label or group_id, parent=parent)


def small(*tasks: PlannedTask, groups: tuple[PlannedGroup, ...] = (), edges: tuple[tuple[str, str], ...] = ()) -> Plan:
    return Plan(tasks=tasks, groups=groups, edges=edges, tasks_map={})


@pytest.fixture(scope="module")
def real() -> Plan:
    graph = DbtGraph(
        project=ProjectConfig(manifest_path=PROJECT / "manifest.json", project_name="ops"),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
        execution_config=ExecutionConfig(dbt_project_path=PROJECT),
    )
    graph.load()
    return plan_of(graph)


def test_mermaid_shows_every_task_in_its_group_and_every_edge(real: Plan) -> None:
    drawing = read_mermaid(to_mermaid(real))

    of = {f"task_{number}": each for number, each in enumerate(real.tasks)}
    assert {of[id_].task_id: label for id_, label in drawing.labels.items()} == {t.task_id: t.label for t in real.tasks}
    assert all(drawing.places[id_] == ((of[id_].group,) if of[id_].group else ()) for id_ in of)
    assert {(of[before].task_id, of[after].task_id) for before, after in drawing.edges} == set(real.edges)
    assert {of[id_].task_id for id_ in drawing.placeholders} == {t.task_id for t in real.tasks if t.is_placeholder}


def test_dot_shows_every_task_and_edge_and_a_frame_for_each_group(real: Plan) -> None:
    drawn = to_dot(real, "ops")

    drawing = read_dot(drawn)
    assert drawing.labels == {each.task_id: each.label for each in real.tasks}
    assert drawing.edges == set(real.edges)
    assert drawing.placeholders == {each.task_id for each in real.tasks if each.is_placeholder}
    assert drawn.count("subgraph") == len(real.groups)


def test_names_of_any_kind_stay_what_they_are() -> None:
    odd = small(task(f"{ODD}.{ODD}", group=ODD), task("end", operator=EMPTY), groups=(group(ODD),))
    odd = replace(odd, edges=((f"{ODD}.{ODD}", "end"),))

    mermaid, dot = read_mermaid(to_mermaid(odd)), read_dot(to_dot(odd, ODD))

    assert (mermaid.labels["task_0"], mermaid.places["task_0"]) == (ODD, (ODD,))
    assert mermaid.edges == {("task_0", "task_1")}
    assert dot.labels == {f"{ODD}.{ODD}": ODD, "end": "end"}


def test_an_edge_of_a_group_in_dot_is_cut_at_its_frame() -> None:
    drawn = to_dot(small(task("g.a", group="g"), task("b"), groups=(group("g"),), edges=(("g", "b"),)))

    assert '    "g" -> "b" [ltail="cluster_g"];' in drawn.splitlines()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_takes_it(real: Plan) -> None:
    subprocess.run(["dot", "-Tcanon"], input=to_dot(real, ODD), text=True, check=True, capture_output=True)
