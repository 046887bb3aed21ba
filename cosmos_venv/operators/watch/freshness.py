"""The producer's check of sources before its build; then ``freshness_callback`` says which nodes are not built.

dbt builds each node that the callback calls a success or does not name: a green task without a built node is the worst
of all ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import SOURCE_IDS, TEST_IDS
from cosmos_venv.dbt.command import DbtOptions, dbt_command
from cosmos_venv.dbt.log_lines import FAILED, SKIPPED, SUCCESS, NodeOutcome
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import decoded
from cosmos_venv.io import project_group
from cosmos_venv.operators.parameters import callables
from cosmos_venv.operators.run.run_steps import Look
from cosmos_venv.operators.run.source_freshness import line_of
from cosmos_venv.operators.watch.verdict import LEFT_OUT, SAYS

_NAME = "freshness_callback"
_COMMAND = ("source", "freshness")
_ALL_OPTIONS = ("vars", "no_version_check", "cache_selected_only", "fail_fast", "quiet", "warn_error", "partial_parse")


def left_out(task: Any, context: Mapping[str, Any], look: Look) -> dict[str, NodeOutcome]:
    """The outcomes of the sources, and of the nodes that dbt must not build.

    :param task: the producer.
    :param context: Airflow's context of it.
    :param look: runs a dbt command where the build will run.
    :raises CosmosValueError: when the callback returns anything but pairs of texts.
    :raises AirflowException: when dbt cannot look at the sources.
    """
    sources_json, found = _looked_at(task, look)
    # A producer without a project around it has no graph.
    graph = getattr(project_group(task.task_group) or task.dag, "dbt_graph", None)
    nodes = {} if graph is None else {**graph.nodes}
    answers: dict[str, str] = {}
    for callback in callables(_NAME, task.freshness_callback):
        answers.update(_pairs(callback(context, task.dag, task.task_group, nodes, sources_json)))
    if others := [each for each in answers if each not in task.nodes and not each.startswith(SOURCE_IDS)]:
        task.log.info("%s says something of %d nodes that this task does not build.", _NAME, len(others))
    tests = ((each, nodes[each].depends_on) for each in task.nodes if each in nodes and each.startswith(TEST_IDS))
    return found | outcomes_of(answers, tests, task.nodes)


def outcomes_of(
    answers: Mapping[str, str], tests: Iterable[tuple[str, Sequence[str]]], nodes: Iterable[str]
) -> dict[str, NodeOutcome]:
    """The outcomes that a callback's answers mean. A test of a node that is left out is left out too, as dbt does it.

    :param answers: state by unique id. A source may have any state, since nothing builds it.
    :param tests: unique id of each test, with the unique ids of the nodes that it reads.
    :param nodes: unique ids of the nodes that the producer builds.
    """
    built = {*nodes}
    found = {
        each: _outcome(state)
        for each, state in answers.items()
        if each.startswith(SOURCE_IDS) or (each in built and NodeOutcome(state).state != SUCCESS)
    }
    without = found.keys() & built
    of_those = (each for each, parents in tests if not without.isdisjoint(parents))
    return {**dict.fromkeys(of_those, NodeOutcome(SKIPPED, message=LEFT_OUT)), **found}


def _outcome(state: str) -> NodeOutcome:
    if state == SKIPPED:
        return NodeOutcome(state, message=LEFT_OUT)
    has_failed = NodeOutcome(state).state == FAILED
    return NodeOutcome("error" if has_failed else state, message=f"{SAYS}{state!r}")


def _pairs(answer: Any) -> Iterator[tuple[str, str]]:
    for pair in () if answer is None else answer if isinstance(answer, Iterable) else (answer,):
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
            raise CosmosValueError(
                f"{_NAME} has given {pair!r}. Return a list of pairs of a unique id and a state, such as "
                "[('model.shop.orders', 'skipped')]."
            )
        unique_id, state = pair
        yield str(unique_id), state.lower()


def _looked_at(task: Any, look: Look) -> tuple[dict[str, Any], dict[str, NodeOutcome]]:
    """The content of dbt's ``sources.json``, and the outcome of each source."""
    if not task.sources:
        return {"results": []}, {}
    # A list of flags is for the build: dbt source freshness knows few of them.
    flags = task.dbt_cmd_flags if isinstance(task.dbt_cmd_flags, Mapping) else ()
    options = DbtOptions(
        select=[*task.sources.values()],
        dbt_cmd_flags=flags,
        dbt_cmd_global_flags=task.dbt_cmd_global_flags,
        **{name: getattr(task, name) for name in _ALL_OPTIONS},
    )
    result, artifacts = look(_COMMAND, dbt_command(task.dbt_executable_path, _COMMAND, options)[1:])
    text = artifacts.text("sources.json")
    if text is None:
        task.handle_exception(result)
        raise AirflowException(
            "freshness_callback is not asked: dbt source freshness has written no sources.json. Drop --no-write-json."
        )
    found = artifacts.sources()
    for source in found:
        task.log.info("%s", line_of(source))
    outcomes = {each.unique_id: NodeOutcome(each.status, message=line_of(each)) for each in found}
    return decoded(text, json.loads), outcomes
