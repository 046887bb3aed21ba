"""What does a test get from the fixtures of this room, with a DAG of a real implementation and without any?"""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def test_the_fixtures_from_outside(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        r"""
        import subprocess
        from datetime import datetime, timezone

        import pytest

        @pytest.fixture
        def build(cosmos_dbt_project, cosmos_implementation, tmp_path):
            project = cosmos_dbt_project("harbor")
            project.seed("piers", "id\n1\n")
            project.model("staging", "select * from {{ ref('piers') }}", tests={"id": ["unique"]})
            project.model("mart", "select * from {{ ref('staging') }}", tags=["daily"])
            cosmos = cosmos_implementation.module()

            def build():
                return cosmos.DbtDag(
                    dag_id="harbor",
                    schedule=None,
                    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
                    project_config=cosmos.ProjectConfig(project.path, manifest_path=project.manifest_file),
                    profile_config=cosmos.ProfileConfig("harbor", "dev", profiles_yml_filepath=project.profiles_yml),
                    render_config=cosmos.RenderConfig(load_method=cosmos.LoadMode.DBT_MANIFEST),
                    execution_config=cosmos.ExecutionConfig(
                        execution_mode=cosmos.ExecutionMode.VIRTUALENV, virtualenv_dir=tmp_path / "environments"
                    ),
                    operator_args={"py_requirements": ["dbt-core"]},
                )

            project.manifest_file = project.manifest()
            return build

        def test_the_shape(cosmos_dag_shape, build):
            assert cosmos_dag_shape(build()).text.splitlines() == [
                "dag harbor",
                "  mart_run (DbtRunVirtualenvOperator)",
                "    after staging.test",
                "  piers_seed (DbtSeedVirtualenvOperator)",
                "  group staging",
                "    staging.run (DbtRunVirtualenvOperator)",
                "      after piers_seed",
                "    staging.test (DbtTestVirtualenvOperator)",
                "      after staging.run",
            ]

        def test_the_cost(cosmos_parse_budget, build):
            cost = cosmos_parse_budget(build, times=100, repeats=3)
            assert cost.size.tasks == 4

        def test_over_budget(cosmos_parse_budget, build):
            cosmos_parse_budget(build, times=0.01, repeats=3)

        def test_a_process(cosmos_parse_budget):
            with cosmos_parse_budget():
                subprocess.run(["true"])

        def test_no_dag(cosmos_dag_shape):
            cosmos_dag_shape("harbor")
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:randomly")

    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*OverBudget: Building the DAG took * ms (*) of CPU time, * times as much as an equal plain DAG of 4 tasks "
            "and 3 edges: * Allowed: 0.01 times as much.",
            "*OverBudget: Building the DAG did what Airflow would do again at every parse:",
            "E*started a process: true",
            "E*at *test_the_fixtures_from_outside.py:*",
            "E*What is meant so is allowed with may_run=*",
            "The shape of a DAG was asked for, and what was given is an object of builtins.str.",
        ]
    )
    # The failing line is the test's own.
    result.stdout.no_fnmatch_line("*pytest_cosmos_venv/dags/*")
