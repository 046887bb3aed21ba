"""A task whose dbt has not reported the task's node: it fails, or warns where the settings say so.

dbt says "Nothing to do" and ends with exit code 0 where a selection fits no node, such as that of a model which was
renamed after the manifest was made. Tests fail a task where dbt has reported none of those that the plan shows. Where
some are missing they are named in a warning: dbt gives a generic test another id when one of its arguments is edited,
so an older manifest may have another id for a test that ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cosmos_venv import settings
from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import NODE_CONFIG, ONLY_TESTS, TASK_TESTS
from cosmos_venv.dbt.results import Artifacts

_BUILDING = frozenset({"build", "run", "seed", "snapshot"})
_NOTHING = "Nothing to do"
_SETTING = "[cosmos_venv] unreported_nodes"
_MOST_NAMED = 10
_WHY = (
    "The DAG was made of a project that had it, and the project of this task has not: the node was renamed, removed or "
    "disabled, or an exclude of operator_args leaves it out. Make the manifest anew, or drop the exclude."
)


def refuse_unreported(
    context: Mapping[str, Any], base_cmd: Sequence[str], artifacts: Artifacts, lines: Sequence[str], *, log: Any
) -> None:
    """Fail where dbt has not reported the node or any test of a task, or warn where the settings say so.

    A warning names the tests that dbt has not reported beside others. Exempt are ephemeral models and models without
    SQL, which dbt does not report, sources without an age to look at, tasks without nodes in their context, and tasks
    whose dbt has written no results (``--no-write-json``) and does not say that there was nothing to do.

    :param context: Airflow's context of the task; it holds the node and the tests of a task that was rendered.
    :param base_cmd: dbt's sub-command, such as ``("source", "freshness")``.
    :param artifacts: what this run of dbt has left.
    :param lines: dbt's output.
    :param log: the task's logger.
    :raises AirflowException: the node was not reported, or no test of a task that runs only tests, and the settings say
        ``fail``.
    """
    if not (artifacts.show_nodes or any(_NOTHING in line for line in lines)):
        return
    node = context.get(NODE_CONFIG) or {}
    tests = context.get(TASK_TESTS, ())
    reported = artifacts.outcomes() if tests else {}
    missing = [each for each in tests if each not in reported]
    command = base_cmd[0]
    only_tests = command == "test" or context.get(ONLY_TESTS, False)
    if missing and len(missing) == len(tests) and only_tests:
        tested = node.get("unique_id") or "the selection"
        what = f"not run {tested}" if tested in missing else f"run no test of {tested}"
    elif node and not only_tests and not _is_reported(node, command, artifacts):
        what = f"not run {node['unique_id']}"
    else:
        if missing:
            log.warning(
                f"dbt {' '.join(base_cmd)} has not reported {len(missing)} of {len(tests)} tests of this task: "
                f"{', '.join(missing[:_MOST_NAMED])}{' and more' if len(missing) > _MOST_NAMED else ''}. {_WHY}"
            )
        return
    message = f"dbt {' '.join(base_cmd)} has ended without an error, and has {what}. {_WHY}"
    if settings.unreported_nodes == "fail":
        raise AirflowException(f"{message} {_SETTING} = warn lets such tasks succeed.")
    log.warning(f"{message} {_SETTING} = fail makes such tasks fail.")


def _is_reported(node: Mapping[str, Any], command: str, artifacts: Artifacts) -> bool:
    unique_id = node["unique_id"]
    config = node.get("config") or {}
    if command == "source":  # dbt before 1.10 does not say in the configuration whether there is an age to look at
        limits = [each for each in (config.get("freshness") or {}).values() if isinstance(each, dict)]
        has_age = any(each.get("count") for each in limits)
        return not has_age or any(each.unique_id == unique_id for each in artifacts.sources())
    is_ephemeral = config.get("materialized") == "ephemeral"
    if command not in _BUILDING or is_ephemeral:
        return True
    return unique_id in artifacts.outcomes() or unique_id in artifacts.without_sql()
