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

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.rendering.diagrams import to_dot, to_mermaid
from cosmos_venv.rendering.model import (
    EMPTY,
    Branch,
    Member,
    Plan,
    PlannedConversion,
    PlannedGroup,
    PlannedTask,
    key_of,
    outline,
    upstream_of,
)
from tests.rendering.made import plan_of

PROJECT = Path(__file__).parent.parent / "data" / "rendering-project"
ODD = 'a "b" [c] {d} <e> #f; `g` | h\\n (i) ü end'


@dataclass
class NodePlanner:
    """The reading of a tool: labels by the path of groups around them, and edges between labelled things."""

    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)
    placeholders: set[str] = field(default_factory=set)
    converted: set[str] = field(default_factory=set)
    frames: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)


MERMAID = {
    "subgraph": re.compile(r'subgraph (\w+) \["([^"\[\]{}<>`|()\\]*)"\]'),
    "end": re.compile(r"end"),
    "edge": re.compile(r"(\w+) --> (\w+)"),
    "task": re.compile(r'(\w+)\["([^"\[\]{}<>`|()\\]*)"\]'),
    "converted": re.compile(r'(\w+)\{\{"([^"\[\]{}<>`|()\\]*)"\}\}'),
    "placeholder": re.compile(r'(\w+)\(\["([^"\[\]{}<>`|()\\]*)"\]\)'),
}


def read_mermaid(text: str) -> NodePlanner:
    """:raises AssertionError: for a line that is no Mermaid of ours."""
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    drawing, around = NodePlanner(), []
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
            drawing.converted |= {found[1]} if kind == "converted" else set()
    assert not around
    return drawing


def unescaped(label: str) -> str:
    """Mermaid writes HTML's entities with # for &#."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label))


DOT_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(->|[\[\]{};,=])|(\w+))', re.DOTALL)


class DotReader:
    """The part of Graphviz's grammar that is needed: statements of nodes, edges, attributes and subgraphs."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            found = DOT_TOKEN.match(text, position)
            assert found is not None, text[position : position + 40]
            kind = ("text", "sign", "word")[(found.lastindex or 1) - 1]
            self.tokens.append((kind, found[found.lastindex or 1]))
            position = found.end()
        self.drawing = NodePlanner()

    def read(self) -> NodePlanner:
        assert self.take() == ("word", "digraph")
        assert self.take()[0] == "text"
        self.block(())
        assert not self.tokens
        return self.drawing

    def take(self) -> tuple[str, str]:
        return self.tokens.pop(0)

    def block(self, around: tuple[str, ...]) -> None:
        assert self.take() == ("sign", "{")
        while self.tokens[0] != ("sign", "}"):
            around = self.statement(around)
        self.take()

    def statement(self, around: tuple[str, ...]) -> tuple[str, ...]:
        kind, value = self.take()
        if (kind, value) == ("word", "subgraph"):
            assert self.take()[1].startswith("cluster")
            self.block((*around, ""))
            return around
        following = self.tokens[0][1]
        if following == "=":
            self.take()
            given = self.take()[1]
            around = (*around[:-1], dot_text(given)) if value == "label" else around
        elif following == "->":
            self.take()
            edge = (dot_text(value), dot_text(self.take()[1]))
            self.drawing.edges.add(edge)
            if self.tokens[0] == ("sign", "["):
                self.drawing.frames[edge] = self.attributes()
        else:
            attributes = self.attributes()
            if kind == "text":
                node = dot_text(value)
                self.drawing.labels[node], self.drawing.places[node] = attributes["label"], around
                self.drawing.placeholders |= {node} if attributes.get("style") == "dashed" else set()
                self.drawing.converted |= {node} if attributes.get("shape") == "hexagon" else set()
        assert self.take() == ("sign", ";")
        return around

    def attributes(self) -> dict[str, str]:
        assert self.take() == ("sign", "[")
        found = {}
        while True:
            name, sign, value = self.take()[1], self.take()[1], self.take()[1]
            assert sign == "="
            found[name] = dot_text(value)
            if self.take() == ("sign", "]"):
                return found


def dot_text(written: str) -> str:
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], written)


def task(task_id: str, group: str | None = None, operator: str = "operators.local.DbtRunLocalOperator") -> PlannedTask:
    return PlannedTask(task_id=task_id, group=group, operator=operator)


def group(group_id: str, label: str | None = None, parent: str | None = None) -> PlannedGroup:
    return PlannedGroup(group_id=group_id, label=label or group_id, parent=parent, order=0)


def small(*tasks: PlannedTask, groups: tuple[PlannedGroup, ...] = (), edges: tuple[tuple[str, str], ...] = ()) -> Plan:
    return Plan(tasks=tasks, groups=groups, edges=edges, outer_edges=(), tasks_map={})


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


def test_dot_shows_every_task_in_its_group_and_every_edge(real: Plan) -> None:
    drawing = DotReader(to_dot(real, "ops")).read()

    assert drawing.labels == {each.task_id: each.label for each in real.tasks}
    assert drawing.places == {each.task_id: (each.group,) if each.group else () for each in real.tasks}
    assert drawing.edges == set(real.edges)
    assert drawing.placeholders == {each.task_id for each in real.tasks if each.is_placeholder}


def test_names_of_any_kind_stay_what_they_are() -> None:
    odd = small(task(f"{ODD}.{ODD}", group=ODD), task("end", operator=EMPTY), groups=(group(ODD),))
    odd = replace(odd, edges=((f"{ODD}.{ODD}", "end"),))

    mermaid, dot = read_mermaid(to_mermaid(odd)), DotReader(to_dot(odd, ODD)).read()

    assert (mermaid.labels["task_0"], mermaid.places["task_0"]) == (ODD, (ODD,))
    assert mermaid.edges == {("task_0", "task_1")}
    assert dot.labels == {f"{ODD}.{ODD}": ODD, "end": "end"}
    assert dot.places[f"{ODD}.{ODD}"] == (ODD,)


def shape(members: list[Member] | tuple[Member, ...]) -> list[object]:
    return [{each.group.label: shape(each.members)} if isinstance(each, Branch) else key_of(each) for each in members]


def test_groups_stand_in_groups_in_the_order_of_their_first_tasks() -> None:
    deep = small(
        task("first"),
        task("outer.inner.in", group="outer.inner"),
        task("outer.out", group="outer"),
        task("last"),
        groups=(group("empty"), group("outer", "Outer"), group("outer.inner", "Inner", "outer")),
    )

    inner = {"Inner": ["outer.inner.in"]}
    assert shape(outline(deep)) == ["first", {"Outer": [inner, "outer.out"]}, "last", {"empty": []}]
    assert read_mermaid(to_mermaid(deep)).places["task_1"] == ("Outer", "Inner")
    assert DotReader(to_dot(deep)).read().places["outer.inner.in"] == ("Outer", "Inner")


@pytest.fixture
def converted() -> Plan:
    """A model with a converted test in a group, and a converted exposure after the group."""
    orders = "model.shop.orders"
    made = PlannedConversion(key=f"{orders}:test", group="orders", node_id=orders, resource_type="test", task_id="test")
    board = PlannedConversion(key="exposure.shop.board", resource_type="exposure", task_id="board_exposure")
    plain = small(task("orders.run", group="orders"), groups=(group("orders"),))
    inner, outer = (("orders.run", made.key),), (("orders", board.key),)
    return replace(plain, conversions=(made, board), converted_inner_edges=inner, converted_outer_edges=outer)


def test_what_a_converter_makes_stands_in_the_outline_after_the_tasks_beside_it(converted: Plan) -> None:
    inside = ["orders.run", "model.shop.orders:test"]

    assert shape(outline(converted)) == [{"orders": inside}, "exposure.shop.board"]
    assert upstream_of(converted) == {"exposure.shop.board": ["orders"], "model.shop.orders:test": ["orders.run"]}


def test_mermaid_shows_what_a_converter_makes_and_joins_it_to_groups(converted: Plan) -> None:
    drawing = read_mermaid(to_mermaid(converted))

    assert drawing.converted == {"made_0", "made_1"}
    assert drawing.labels["made_0"] == "test by the converter of test for model.shop.orders"
    assert (drawing.places["made_0"], drawing.places["made_1"]) == (("orders",), ())
    assert drawing.edges == {("task_0", "made_0"), ("group_0", "made_1")}


def test_dot_shows_what_a_converter_makes_and_joins_it_to_the_frames_of_groups(converted: Plan) -> None:
    turned = replace(converted, converted_outer_edges=(("exposure.shop.board", "orders"),))

    drawing, back = DotReader(to_dot(converted)).read(), DotReader(to_dot(turned)).read()

    assert drawing.converted == {"model.shop.orders:test", "exposure.shop.board"}
    assert drawing.labels["exposure.shop.board"] == "board_exposure by the converter of exposure"
    assert drawing.edges == {
        ("orders.run", "model.shop.orders:test"),
        ("model.shop.orders:test", "exposure.shop.board"),
    }
    assert drawing.frames == {("model.shop.orders:test", "exposure.shop.board"): {"ltail": "cluster_orders"}}
    assert back.frames == {("exposure.shop.board", "orders.run"): {"lhead": "cluster_orders"}}


def test_text_says_which_converter_makes_what(converted: Plan) -> None:
    assert str(converted).splitlines() == [
        "orders",
        "  run  DbtRunLocalOperator",
        "  test  by the converter of test for model.shop.orders  <- orders.run",
        "board_exposure  by the converter of exposure  <- orders",
    ]


def test_what_comes_before_a_task_is_told_in_the_order_of_the_edges() -> None:
    assert upstream_of(small(edges=(("a", "c"), ("b", "c")))) == {"c": ["a", "b"]}


def test_a_plan_of_nothing_is_drawn() -> None:
    assert read_mermaid(to_mermaid(small())) == NodePlanner()
    assert DotReader(to_dot(small())).read() == NodePlanner()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_takes_it(real: Plan) -> None:
    subprocess.run(["dot", "-Tcanon"], input=to_dot(real, ODD), text=True, check=True, capture_output=True)
