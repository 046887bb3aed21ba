"""A task whose dbt has not reported the task's node: it fails, or warns where the settings say so.

dbt says "Nothing to do" and ends with exit code 0 where a selection fits no node, such as that of a model which was
renamed after the manifest was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cosmos_venv import settings
from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import NODE_CONFIG, OPEN_TESTS, TEST_IDS
from cosmos_venv.dbt.results import Artifacts

_BUILDING = frozenset({"build", "run", "seed", "snapshot"})
_NOTHING = "Nothing to do"
_SETTING = "[cosmos_venv] unreported_nodes"


def refuse_unreported(
    context: Mapping[str, Any], base_cmd: Sequence[str], artifacts: Artifacts, lines: Sequence[str], *, log: Any
) -> None:
    """Fail where dbt has not reported the node of a task, or warn where the settings say so.

    Exempt are ephemeral models and models without SQL, which dbt does not report, sources without an age to look at,
    tasks without a node of their own, and tasks whose dbt has written no results (``--no-write-json``) and does not say
    that there was nothing to do.

    :param context: Airflow's context of the task; it holds the node of a task that was rendered.
    :param base_cmd: dbt's sub-command, such as ``("source", "freshness")``.
    :param artifacts: what this run of dbt has left.
    :param lines: dbt's output.
    :param log: the task's logger.
    :raises AirflowException: the node was not reported, or of a test task no test, and the settings say ``fail``.
    """
    node = context.get(NODE_CONFIG)
    if not node or not (artifacts.show_nodes or any(_NOTHING in line for line in lines)):
        return
    if _is_reported(node, base_cmd[0], artifacts, are_open=OPEN_TESTS in context):
        return
    message = _message(node["unique_id"], base_cmd)
    if settings.unreported_nodes == "fail":
        raise AirflowException(f"{message} {_SETTING} = warn lets such tasks succeed.")
    log.warning(f"{message} {_SETTING} = fail makes such tasks fail.")


def _is_reported(node: Mapping[str, Any], command: str, artifacts: Artifacts, *, are_open: bool) -> bool:
    """:param are_open: whether dbt decides which tests run, so that it may be none of them."""
    unique_id = node["unique_id"]
    if command == "test":
        is_test = unique_id.startswith(TEST_IDS)
        outcomes = artifacts.outcomes()
        return are_open or (unique_id in outcomes if is_test else bool(outcomes))
    config = node.get("config") or {}
    if command == "source":  # dbt before 1.10 does not say in the configuration whether there is an age to look at
        limits = [each for each in (config.get("freshness") or {}).values() if isinstance(each, dict)]
        has_age = any(each.get("count") for each in limits)
        return not has_age or any(each.unique_id == unique_id for each in artifacts.sources())
    is_ephemeral = config.get("materialized") == "ephemeral"
    if command not in _BUILDING or is_ephemeral:
        return True
    return unique_id in artifacts.outcomes() or unique_id in artifacts.without_sql()


def _message(unique_id: str, base_cmd: Sequence[str]) -> str:
    is_of_tests = base_cmd[0] == "test" and not unique_id.startswith(TEST_IDS)
    what = f"run no test of {unique_id}" if is_of_tests else f"not run {unique_id}"
    return (
        f"dbt {' '.join(base_cmd)} has ended without an error, and has {what}. The DAG was made of a project "
        "that had it, and the project of this task has not: the node was renamed, removed or disabled, or an exclude "
        "of operator_args leaves it out. Make the manifest anew, or drop the exclude."
    )
