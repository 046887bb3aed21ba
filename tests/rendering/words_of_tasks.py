"""The nodes that the tasks of a DAG show, beside the nodes that a real dbt runs for the words of these tasks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import InvocationMode, LoadMode, TestIndirectSelection
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.dbt_ls import LS_OUTPUT_KEYS
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.plan_request import AMBIGUOUS
from tests.rendering.asked_dbt import AskedDbt, ProjectRefused
from tests.rendering.dbt_answers import ERROR
from tests.rendering.drawn_projects import DrawnProject

BUILT = ("model.", "seed.", "snapshot.")
TESTS = ("test.", "unit_test.")
SELECTION = "the selection"
TOGETHER = "all tasks together"
_LISTING = ["ls", "--output", "json", "--output-keys", *LS_OUTPUT_KEYS, "test_metadata"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a DAG shows.

    :param tasks: by task id, the nodes that dbt runs for it.
    :param words: by task id, the words of its command.
    :param selected: the models, seeds, snapshots and tests of the selection.
    :param built: the models, seeds and snapshots among them, but for ephemeral models, and the tests that some task
        runs.
    :param once: the tests with a task of their own.
    :param early: tests of such tasks which do not wait for a node that they read.
    """

    tasks: dict[str, list[str]] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    once: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The judgement of one project.

    :param wrong: what is wrong, by task id.
    :param asked: how many commands dbt was asked for.
    :param excused: the nodes that ran unshown in tasks for which the plan had warned of them.
    """

    wrong: dict[str, Any]
    asked: int = 0
    excused: list[str] = field(default_factory=list)


def judge_words(project: DrawnProject, asked: AskedDbt, folder: Path) -> Judged:
    """Compare the nodes that the tasks of a DAG show with the nodes that dbt runs for the words of these tasks.

    Under ``SELECTION`` stands what dbt selects, beside the nodes of the DAG; under ``TOGETHER`` what dbt builds and
    tests for all tasks: it builds each node once, and runs each test. An error of dbt is an answer that is wrong. Where
    no word of dbt selects a node alone, the plan warns of the others; these others are excused.

    :param project: it is written into the folder.
    :param asked: the dbt to ask.
    :param folder: does not exist.
    :raises ProjectRefused: dbt reports an error in the project.
    """
    project.write(folder)
    asked.parse(folder)
    try:
        with _warnings_of_ambiguous_words() as ambiguous:
            dag = _dag(project, asked, folder)
    except (CosmosLoadDbtException, CosmosValueError) as error:
        return Judged(wrong={"the DAG": str(error)})
    shown = _shown(dag, project.indirect)
    selection = flags_of(project.listed or project.render)
    answers = asked.ask(folder, [*shown.words.values(), ["all", *selection]])
    resolved, excused = {}, []
    for task_id, answer in zip(shown.words, answers, strict=False):
        warned = {other for each in shown.tasks[task_id] for other in ambiguous.get(each, ())}
        unshown = warned.difference(shown.tasks[task_id])
        resolved[task_id] = [each for each in answer if each not in unshown]
        excused += [each for each in answer if each in unshown]
    ran = [each for answer in resolved.values() for each in answer]
    compared = {
        **{task_id: (shown.words[task_id], nodes, resolved[task_id]) for task_id, nodes in shown.tasks.items()},
        SELECTION: (selection, shown.selected, _of(answers[-1], (*BUILT, *TESTS, ERROR))),
        TOGETHER: ([], _of(shown.built, BUILT), _of(ran, BUILT)),
        "tests with a task of their own": ([], shown.once, [each for each in ran if each in shown.once]),
        "tests that run too early": ([], [], shown.early),
    }
    if project.indirect == "eager":  # else some tests do not run
        compared["all tests"] = ([], [*{*_of(shown.built, TESTS)}], [*{*_of(ran, TESTS)}])
    wrong = {
        name: {"words": words, "plan": sorted(plan), "dbt": sorted(dbt)}
        for name, (words, plan, dbt) in compared.items()
        if Counter(plan) != Counter(dbt)
    }
    return Judged(wrong=wrong, asked=len(answers), excused=excused)


@contextmanager
def _warnings_of_ambiguous_words() -> Iterator[dict[str, set[str]]]:
    """By the unique id of a node that dbt cannot select alone, the nodes that the plan has warned of."""
    found: dict[str, set[str]] = {}

    class Gathered(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == AMBIGUOUS and isinstance(record.args, tuple):
                unique_id, _, others = map(str, record.args)
                found.setdefault(unique_id, set()).update(others.split(", "))

    logger, handler = logging.getLogger("cosmos_venv.rendering.plan_request"), Gathered()
    level = logger.level
    logger.setLevel(logging.WARNING)  # whatever level the settings of Airflow give to all loggers
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def flags_of(render: Mapping[str, Any]) -> list[str]:
    """Return the user's selection as words of dbt.

    :param render: arguments of RenderConfig.
    """
    named = {name: render[name] for name in ("select", "exclude") if name in render}
    words = [word for name, values in named.items() for word in (f"--{name}", *values)]
    return [*words, *(["--selector", render["selector"]] if "selector" in render else [])]


def _of(nodes: Iterable[str], beginnings: tuple[str, ...]) -> list[str]:
    return [each for each in nodes if each.startswith(beginnings)]


def _dag(project: DrawnProject, asked: AskedDbt, folder: Path) -> DbtDag:
    listing = folder / "ls.jsonl"
    if project.load == "dbt_ls_file":
        (lines,) = asked.ask(folder, [[*_LISTING, *flags_of(project.listed)]])
        if not lines or lines[0].startswith(ERROR):
            raise ProjectRefused(f"The file of dbt ls would hold no node: {lines}")
        listing.write_text("\n".join(lines), encoding="utf-8")
    return DbtDag(
        dag_id="shop",
        project_config=ProjectConfig(folder, manifest_path=folder / "target" / "manifest.json", install_dbt_deps=False),
        render_config=RenderConfig(
            load_method=LoadMode(project.load),
            dbt_ls_path=listing if project.load == "dbt_ls_file" else None,
            dbt_executable_path=asked.executable if project.load == "dbt_ls" else None,
            allow_empty_selection=True,
            **project.render,
        ),
        execution_config=ExecutionConfig(
            test_indirect_selection=TestIndirectSelection(project.indirect),
            invocation_mode=InvocationMode.SUBPROCESS,
        ),
        profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=folder / "profiles.yml"),
    )


def _shown(dag: DbtDag, indirect: str) -> Shown:
    nodes, known = dag.dbt_graph.filtered_nodes, dag.dbt_graph.nodes
    tests = {each: node for each, node in nodes.items() if each.startswith(TESTS)}
    tasks: list[Any] = [task for task in dag.tasks if hasattr(task, "build_cmd")]
    apart = {each for each in tests if each in dag.tasks_map}
    apart |= {each for task in tasks for each in getattr(task, "nodes", ()) if each in tests}
    # dbt cannot be told tests of one fqn one by one, so they run together.
    alike = {each: _alike(test, tests) for each, test in tests.items()}
    attached = {each: test for each, test in tests.items() if apart.isdisjoint(alike[each])}
    shown = Shown(
        selected=_of(nodes, (*BUILT, *TESTS)),
        built=[each for each in _of(nodes, BUILT) if nodes[each].config.get("materialized") != "ephemeral"],
        once=[each for each in tests if each in dag.tasks_map],
    )
    for task in tasks:
        kind, *flags = task.build_cmd({})[0][1:]
        words = [kind, *(flag for flag in flags if flag != "freshness")]
        node_id = task.extra_context.get("dbt_node_config", {}).get("unique_id")
        if hasattr(task, "nodes"):
            words += ["--select", *dict.fromkeys(task.nodes.values())]
            expected = [*task.nodes]
        elif node_id is None:
            expected = [*tests]  # of AFTER_ALL
        elif node_id in tests:
            expected = alike[node_id]
            shown.early.extend(_early(task, expected, dag))
        else:
            taken = [*_taken(attached, [node_id], indirect, known)] if kind in ("test", "build") else []
            # Where dbt is told names, it runs each test of a name.
            together = {other for each in taken for other in alike[each]}
            named = [each for each in task.extra_context.get("dbt_tests", ()) if each in together]
            expected = [*([] if kind == "test" else [node_id]), *taken, *named]
        shown.tasks[task.task_id], shown.words[task.task_id] = [*dict.fromkeys(expected)], words
    shown.built.extend(_of(dict.fromkeys(each for task in shown.tasks.values() for each in task), TESTS))
    return shown


def _alike(test: DbtNode, tests: Mapping[str, DbtNode]) -> list[str]:
    return [each for each, other in tests.items() if (other.resource_type, other.fqn) == (test.resource_type, test.fqn)]


def _early(task: Any, tests: Iterable[str], dag: DbtDag) -> Iterator[str]:
    """The tests whose task does not wait for all nodes that they read."""
    before = {task.task_id for task in task.get_flat_relatives(upstream=True)}
    for test in tests:
        for parent in dag.dbt_graph.filtered_nodes[test].depends_on:
            made: Any = dag.tasks_map.get(parent)
            last = made.get_leaves() if hasattr(made, "get_leaves") else [made] if made else []
            ids = {each.task_id for each in last}
            if not ids <= before:
                yield f"{test} before {parent}"


def _taken(
    tests: Mapping[str, DbtNode], members: Collection[str], indirect: str, known: Mapping[str, DbtNode]
) -> Iterator[str]:
    """The tests that dbt adds to nodes.

    :param tests: those that there are.
    :param members: unique ids of the nodes.
    :param indirect: the mode.
    :param known: all nodes.
    """
    if indirect == "empty":
        return
    within = {*members}
    if indirect == "buildable":
        left = [*members]
        while left:
            above = [each for each in (known[left.pop()].depends_on) if each in known and each not in within]
            within.update(above)
            left += above
        within |= {each for each in known if each.startswith("source.")}
    for unique_id, test in tests.items():
        if not {*members}.isdisjoint(test.depends_on) and (indirect == "eager" or within.issuperset(test.depends_on)):
            yield unique_id
