"""A failed test shows the runs that did not succeed, and an outcome is readable."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv import DagOutcome, TaskOutcome
from pytest_cosmos_venv.airflow.outcomes import TaskRecord

pytest_plugins = ["pytester"]

TRACEBACK = """\
INFO - looking
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/airflow/models/taskinstance.py", line 7, in run
    execute()
    ^^^^^^^^^
  File "/home/me/airflow/dags/harbor.py", line 3, in look
    raise LookupError("closed")
LookupError: closed
"""


def failed_outcome() -> DagOutcome:
    look = TaskOutcome(
        task_id="look", state="failed", exception=LookupError("closed\nfor good"), log=TRACEBACK, tries=1, duration=0.25
    )
    tell = TaskOutcome(task_id="tell", state="upstream_failed")
    tasks = {"look": look, "tell": tell}
    return DagOutcome(dag_id="harbor", run_id="r", logical_date=None, state="failed", tasks=tasks, duration=0.5)


def test_an_outcome_prints_as_a_table_with_the_log_of_what_failed() -> None:
    assert str(failed_outcome()).splitlines() == [
        "DAG harbor: failed in 0.50 s",
        "task  state            tries  seconds  exception",
        "look  failed           1      0.25     LookupError: closed",
        "tell  upstream_failed  0      0.00",
        "",
        "--- the last lines of look's log",
        "INFO - looking",
        "Traceback (most recent call last):",
        '  File "/venv/lib/python3.11/site-packages/airflow/models/taskinstance.py", line 7, in run',
        "    execute()",
        "    ^^^^^^^^^",
        '  File "/home/me/airflow/dags/harbor.py", line 3, in look',
        '    raise LookupError("closed")',
        "LookupError: closed",
    ]


@pytest.mark.parametrize("last", ["run", "test"])
def test_a_model_without_tests_is_named_where_a_task_of_its_group_is_asked_for(last: str) -> None:
    record = TaskRecord({"routes_run": "success"})

    words = rf"'routes\.{last}' is no task of this run, and 'routes_run' is one: .* has no tests there\. "
    with pytest.raises(KeyError, match=words):
        record[f"routes.{last}"]


def test_a_failed_test_shows_the_failed_runs_and_no_others(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import dataclasses, pytest
        from pytest_cosmos_venv import DagOutcome, TaskOutcome
        from pytest_cosmos_venv.fixtures.airflow import OUTCOMES

        @pytest.fixture
        def outcomes(request):
            look = TaskOutcome(task_id="look", state="failed", exception=LookupError("closed"), log="looked in vain")
            bad = DagOutcome(
                dag_id="harbor", run_id="r", logical_date=None, state="failed", tasks={"look": look}, duration=0.5
            )
            good = dataclasses.replace(bad, dag_id="beach", state="success", tasks={})
            return request.node.stash.setdefault(OUTCOMES, [bad, good])

        def test_red(outcomes):
            assert outcomes[0].succeeded, outcomes[0]

        def test_green(outcomes):
            assert not outcomes[0].succeeded
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:xdist", "-rP")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E       AssertionError: <DAG harbor failed: look failed>",
            "*- cosmos: what did not succeed -*",
            "DAG harbor: failed in 0.50 s",
            "look  failed  0      0.00     LookupError: closed",
            "--- the last lines of look's log",
            "looked in vain",
        ]
    )
    assert str(result.stdout).count("what did not succeed") == 1
    result.stdout.no_fnmatch_line("DAG beach:*")
