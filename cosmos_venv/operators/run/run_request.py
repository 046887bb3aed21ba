"""The request of a DAG run, by its params: which dbt nodes it runs, and how.

One task of a project evaluates the selection and pushes which tasks are skipped and which run in part; the others read
this XCom. A task is skipped if none of its nodes is chosen. A chosen task is also skipped if a chosen task before it
was skipped, as in a run without a selection. Unchosen tasks and placeholders between the two change nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, AirflowFailException, AirflowSkipException
from cosmos_venv.constants import ONLY_TESTS, SELECT_TASK_ID, TASK_TESTS, TEST_IDS, TestIndirectSelection
from cosmos_venv.dbt import log_lines
from cosmos_venv.dbt.selection_texts import refuse_words_of_cosmos, selected_with
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import value_of
from cosmos_venv.files.yaml_files import load_yaml

XCOM = "dbt_selection"
"""Key of the XCom with the evaluated selection."""

_SKIPPED = "skipped"
_STOPPED = (_SKIPPED, "upstream_failed")
_MAY_FAIL = "may_fail"
_PASSED = "passed"
# Airflow 3 turns each task id into two parameters of an SQL statement, Airflow 2 into one; SQLite takes 32,766.
_MOST_AT_ONCE = 10_000
_MOST_SAID = 200  # letters
_MOST_NAMES = 5


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request of one run, by its params.

    :param select: dbt's selection text; empty: all nodes.
    :param exclude: dbt's selection text of the nodes that are left out; empty: no node.
    :param full_refresh: whether dbt gets ``--full-refresh``.
    :param variables: variables that replace those of the operator with the same names.
    """

    select: str
    exclude: str
    full_refresh: bool
    variables: Mapping[str, Any]

    @classmethod
    def of(cls, names: Mapping[str, str], context: Mapping[str, Any]) -> RunRequest:
        """The request of the run of a context.

        :param names: names of the params, by their purpose.
        :param context: Airflow's context of a task.
        :raises CosmosValueError: where a word of a selection begins with a dash, or is known to Cosmos only.
        """
        params: Any = context.get("params") or {}
        values = {each: params[name] for each, name in names.items() if name in params}
        select, exclude = (_known_words(each, values.get(each)) for each in ("select", "exclude"))
        return cls(
            select=select,
            exclude=exclude,
            full_refresh=bool(values.get("full_refresh")),
            variables=values.get("vars") or {},
        )

    @property
    def selects(self) -> bool:
        """Whether some nodes may be left out."""
        return bool(self.select or self.exclude)

    def changes(self, operator: Any) -> dict[str, Any]:
        """The attributes of an operator that the run changes, apart from its selection.

        :param operator: a dbt operator, with its templates rendered.
        :raises CosmosValueError: when variables cannot override those of the operator.
        """
        found: dict[str, Any] = {}
        if self.full_refresh and "full_refresh" in operator.own_parameters:
            found["full_refresh"] = True
        if self.variables:
            found["vars"] = {**_mapping(operator.vars), **self.variables}
        return found


def _known_words(parameter: str, given: Any) -> str:
    text = str(given or "").strip()
    # dbt gets a long selection as separate words of the command line.
    for word in text.split():
        if word.startswith("-"):
            raise CosmosValueError(
                f"{parameter}={text[:_MOST_SAID]!r}: the word {word[:_MOST_SAID]!r} begins with a dash, as "
                "dbt's flags do. A run chooses nodes only."
            )
    refuse_words_of_cosmos(f"{parameter}={text[:_MOST_SAID]!r}", text.split())
    return text


def _mapping(variables: Any) -> Mapping[str, Any]:
    given = load_yaml(variables) if isinstance(variables, str) else variables
    if given is not None and not isinstance(given, Mapping):
        raise CosmosValueError(f"vars={variables!r}: the vars of this run cannot go over it. Give a dict.")
    return given or {}


def selection_for(operator: Any, request: RunRequest, context: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an operator that the selection of the run changes.

    :param operator: a dbt operator.
    :param request: the wishes of the run.
    :param context: Airflow's context of the task.
    :raises AirflowSkipException: when no node of the task is chosen, or a chosen task before it was skipped.
    :raises AirflowException: when nobody has evaluated the selection.
    """
    ti: Any = context["ti"]
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
    select_task_id = operator.run_params["task_id"]
    pushed = compat.xcom(XCOM, task_id=select_task_id, **place) if request.selects else None
    found: Mapping[str, Any] = pushed or {}
    unchosen = {*found.get(_SKIPPED, ())}
    if operator.task_id in unchosen:
        raise _skip(operator, f"Not chosen for this run: {_said(request)}.")
    # With Airflow's own rule, all_success, a task after an unchosen task could not run.
    if operator.skipped_with is not None:
        prefix = select_task_id.removesuffix(SELECT_TASK_ID)
        further = (f"{prefix}{each}" for each in operator.skipped_with)
        before = _before({*operator.upstream_task_ids, *further}, found.get(_PASSED, {})) - unchosen
        states = compat.task_states(sorted(before), **place) if before else {}
        stopping = {each for each, state in states.items() if state in _STOPPED}
        if pushed:  # after an unchosen node with on_error: continue, the trigger rule lets a task run after a failure
            stopping |= {each for each, state in states.items() if state == "failed"} - {*pushed.get(_MAY_FAIL, ())}
        if stopped := sorted(stopping):
            raise _skip(operator, f"Skipped as {', '.join(stopped)} before it.")
    if request.selects and pushed is None:
        raise AirflowException(
            f"{select_task_id} has not evaluated {_said(request)}. Was it marked by hand? Clear it with what follows."
        )
    texts = found.get("partial", {}).get(operator.task_id)
    if texts is None:
        return {}
    tests = [each for each in texts if each.startswith(TEST_IDS)]
    if "nodes" in operator.own_parameters:
        return {"nodes": texts}
    return {
        "select": list(dict.fromkeys(texts.values())),
        "models": None,
        "indirect_selection": TestIndirectSelection.EMPTY.value,
        "extra_context": {**operator.extra_context, TASK_TESTS: tests, ONLY_TESTS: len(tests) == len(texts)},
    }


def _before(task_ids: Iterable[str], passed: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the tasks. For each task in ``passed``, also return the tasks before it, as far as the chain goes."""
    found: set[str] = set()
    left = [*task_ids]
    while left:
        task_id = left.pop()
        if task_id not in found:
            found.add(task_id)
            left += passed.get(task_id, ())
    return found


def _skip(operator: Any, reason: str) -> AirflowSkipException:
    operator.log.info("%s", reason)  # Airflow 3 does not log the text of the exception
    return AirflowSkipException(reason)


def _said(request: RunRequest) -> str:
    parts = {"select": request.select, "exclude": request.exclude}
    return ", ".join(f"{name}={text!r}" for name, text in parts.items() if text)


class _ListedNode(msgspec.Struct):
    unique_id: str


def listed(lines: Iterable[str]) -> set[str]:
    """The unique ids that ``dbt ls --output json`` has listed.

    :param lines: its output.
    """
    found = set()
    for line in lines:
        text = log_lines.message(line).strip()
        if text.startswith("{") and '"unique_id"' in text and (node := value_of(text, _ListedNode)) is not None:
            found.add(node.unique_id)
    return found


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks and nodes that a selection chooses.

    :param skipped: ids of the tasks without a chosen node.
    :param at_once: the skipped tasks without a chosen task anywhere before them: they are skipped in any case.
    :param passed: the tasks without a chosen node (unchosen tasks and placeholders), by id. Each has a list of tasks
        right before it: a task is in the list if it is chosen, or has a chosen task before it. A task with an empty
        list is left out.
    :param partial: by task id the nodes that run, where only some of a task's nodes are chosen.
    :param number: how many tasks run.
    """

    skipped: tuple[str, ...]
    at_once: tuple[str, ...]
    passed: dict[str, list[str]]
    partial: dict[str, list[str]]
    number: int


def choose(tasks: Mapping[str, Mapping[str, Any]], chosen: Collection[str], texts: Mapping[str, str]) -> Choice:
    """The tasks that run, and which of their nodes.

    A test runs in the tasks of the chosen nodes that it reads. If none of these nodes is chosen, the test runs in every
    task that has it. If several nodes have the same selection text, as tests of one name in one folder, dbt runs all
    these nodes.

    :param tasks: by id, in topological order. ``nodes`` are the nodes that the task runs, ``tested`` is the node whose
        tests are among them, and ``after`` are the tasks right before it. A task without nodes runs nothing.
    :param chosen: unique ids of nodes and tests.
    :param texts: by unique id the text by which dbt selects a node of these tasks.
    """
    with_parent = {
        each for task in tasks.values() if task["tested"] in chosen for each in task["nodes"] if each in chosen
    }
    partial: dict[str, list[str]] = {}
    skipped: list[str] = []
    at_once: list[str] = []
    passed: dict[str, list[str]] = {}
    behind: set[str] = set()  # chosen tasks, and tasks with a chosen task before them
    number = 0
    for task_id, task in tasks.items():
        nodes = [each for each in task["nodes"] if each in chosen]
        if task["tested"] is not None and task["tested"] not in chosen:
            nodes = [each for each in nodes if each not in with_parent]
        nodes = selected_with(nodes, {each: texts[each] for each in task["nodes"]})
        after = [each for each in task["after"] if each in behind]
        if nodes:
            number += 1
            if len(nodes) < len(task["nodes"]):
                partial[task_id] = nodes
        elif task["nodes"]:
            skipped.append(task_id)
            if not after:
                at_once.append(task_id)
        if nodes or after:
            behind.add(task_id)
        if after and not nodes:
            passed[task_id] = after
    return Choice(skipped=tuple(skipped), at_once=tuple(at_once), passed=passed, partial=partial, number=number)


def push_choice(operator: Any, request: RunRequest, chosen: Collection[str], context: Mapping[str, Any]) -> None:
    """Push the chosen tasks and nodes for the other tasks of the project, and skip at once the tasks that can be.

    :param operator: the task that has evaluated the selection.
    :param request: the request of the run.
    :param chosen: unique ids of the nodes that dbt has selected.
    :param context: Airflow's context of that task.
    :raises AirflowFailException: when no task of the project would run, and no other project shares the params.
    """
    selectors: Mapping[str, str] = operator.selectors
    choice = choose(operator.tasks, chosen, selectors)
    prefix = operator.task_id.removesuffix(SELECT_TASK_ID)
    if not choice.number:
        if not _shares(operator):
            raise AirflowFailException(f"{_said(request)} chooses no task of this DAG: {_why_nothing(chosen)}")
        group = prefix.removesuffix(".")
        operator.log.warning("%s chooses no task of the group %s: all of them are skipped.", _said(request), group)
    value = {
        _SKIPPED: [f"{prefix}{each}" for each in choice.skipped],
        _PASSED: {f"{prefix}{each}": [f"{prefix}{one}" for one in before] for each, before in choice.passed.items()},
        _MAY_FAIL: [f"{prefix}{each}" for each, task in operator.tasks.items() if task.get(_MAY_FAIL)],
        "partial": {
            f"{prefix}{each}": {node: selectors[node] for node in nodes} for each, nodes in choice.partial.items()
        },
    }
    ti: Any = context["ti"]
    ti.xcom_push(key=XCOM, value=value)
    operator.log.info(
        "%s: %d tasks run, %d of them in part, and %d are skipped.",
        _said(request),
        choice.number,
        len(choice.partial),
        len(choice.skipped),
    )
    # In a mapped group each task skips itself when it starts.
    if choice.at_once and ti.map_index < 0:
        compat.skip_tasks([f"{prefix}{each}" for each in choice.at_once[:_MOST_AT_ONCE]], context)


def _shares(operator: Any) -> bool:
    """Whether another project of the DAG takes its selection from the same params."""
    own = operator.run_params
    others = (getattr(task, "run_params", None) or own for task in operator.dag.tasks)
    asked = ("select", "exclude")
    return any(
        each["task_id"] != own["task_id"] and any(own.get(one) and own[one] == each.get(one) for one in asked)
        for each in others
    )


def _why_nothing(chosen: Collection[str]) -> str:
    if not chosen:
        return "dbt selects no node. Correct it, or leave it empty for all nodes."
    shown: Sequence[str] = sorted(chosen)[:_MOST_NAMES]
    more = len(chosen) - len(shown)
    names = ", ".join(shown) + (f" and {more} more" if more else "")
    they = "it" if len(chosen) == 1 else "any of them"
    return f"dbt selects {names}. No task here runs {they}. RenderConfig says which nodes have one."
