"""What does a test get from the fixtures of this room, and when it misuses them? More in docs/toolkit/dags.md."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


@pytest.mark.long
def test_the_fixtures_from_outside(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        r"""
        import subprocess

        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import DAG

        def build():
            with DAG("harbor", schedule=None) as dag:
                EmptyOperator(task_id="arrive") >> EmptyOperator(task_id="leave")
            return dag

        def test_the_cost(cosmos_parse_budget):
            cosmos_parse_budget(build, times=100, repeats=3)

        def test_over_budget(cosmos_parse_budget):
            cosmos_parse_budget(build, times=0.01, repeats=3)

        def test_a_process(cosmos_parse_budget):
            with cosmos_parse_budget():
                subprocess.run(["true"])

        def test_no_dag(cosmos_dag_shape):
            cosmos_dag_shape("harbor")
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:randomly")

    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*OverBudget: Building the DAG took * ms (*) of CPU time, * times as much as an equal plain DAG of 2 tasks "
            "and 1 edges: * Allowed: 0.01 times as much.",
            "*OverBudget: Building the DAG did what Airflow would do again at every parse:",
            "E*started a process: true",
            "E*at *test_the_fixtures_from_outside.py:*",
            "E*What is meant so is allowed with may_run=*",
            "The shape of a DAG was asked for, and what was given is an object of builtins.str.",
        ]
    )
    # The failing line is the test's own.
    result.stdout.no_fnmatch_line("*pytest_cosmos_venv/dags/*")
