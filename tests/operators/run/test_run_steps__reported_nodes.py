"""A task whose dbt has not reported the task's node is not green."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators import local
from tests.kit import MakeTask


def of(unique_id: str, **config: Any) -> dict[str, Any]:
    """The context of the task of a node."""
    return {"dbt_node_config": {"unique_id": unique_id, "config": config}}


@pytest.mark.parametrize(
    ("name", "unique_id", "said"),
    [
        ("Run", "model.harbor.renamed", "has not run model.harbor.renamed."),
        ("Build", "model.harbor.renamed", "has not run model.harbor.renamed."),
        ("Seed", "seed.harbor.renamed", "has not run seed.harbor.renamed."),
        ("Test", "model.harbor.renamed", "has run no test of model.harbor.renamed."),
        ("Test", "test.harbor.renamed", "has not run test.harbor.renamed."),
        ("Test", "", "has run no test of the selection."),
    ],
)
def test_a_node_that_the_project_has_no_longer_fails_its_task(
    name: str, unique_id: str, said: str, make_here: MakeTask
) -> None:
    tests = [unique_id if unique_id.startswith("test.") else "test.harbor.gone"] if name == "Test" else []
    context = {**(of(unique_id) if unique_id else {}), "dbt_tests": tests}
    task = make_here(name, task_id="renamed", select="fqn:harbor.renamed", extra_context=context)

    with pytest.raises(AirflowException, match=r"renamed, removed or disabled.* unreported_nodes = warn") as failure:
        task.execute({})

    assert said in str(failure.value)


def test_a_build_of_tests_alone_fails_where_dbt_has_reported_none_of_them(make_here: MakeTask) -> None:
    context = {**of("model.harbor.staging"), "dbt_tests": ["test.harbor.gone.0a"], "dbt_runs_only_tests": True}
    task = make_here("Build", task_id="gone", select="fqn:harbor.gone", extra_context=context)

    with pytest.raises(AirflowException, match=r"has run no test of model\.harbor\.staging\."):
        task.execute({})


def test_a_source_whose_age_was_not_looked_at_fails_its_task(make_here: MakeTask) -> None:
    freshness = {"warn_after": {"count": 1, "period": "day"}}
    context = of("source.harbor.raw.renamed", freshness=freshness)
    task = make_here("Source", task_id="renamed", select="source:harbor.raw.renamed", extra_context=context)

    with pytest.raises(AirflowException, match=r"has not run source\.harbor\.raw\.renamed\."):
        task.execute({})


@pytest.mark.parametrize("flags", [["--quiet"], ["--log-level", "none"]])
def test_a_dbt_that_logs_nothing_is_judged_by_its_results(flags: list[str], make_here: MakeTask) -> None:
    given = {"dbt_cmd_global_flags": flags}
    built = make_here("Run", task_id="built", select="staging", extra_context=of("model.harbor.staging"), **given)
    renamed = make_here("Run", task_id="renamed", select="renamed", extra_context=of("model.harbor.renamed"), **given)

    built.execute({})

    with pytest.raises(AirflowException, match=r"has not run model\.harbor\.renamed"):
        renamed.execute({})


@pytest.mark.parametrize(
    ("name", "context"),
    [
        pytest.param("Run", of("model.harbor.gone", materialized="ephemeral"), id="ephemeral"),
        pytest.param("Test", {**of("model.harbor.gone"), "dbt_tests": []}, id="no-tests"),
        pytest.param("Source", of("source.harbor.raw.gone"), id="source-of-an-old-dbt"),
        pytest.param("Source", of("source.harbor.raw.gone", freshness={"warn_after": {"count": None}}), id="no-age"),
        pytest.param("Run", {}, id="no-node"),
    ],
)
def test_a_task_that_need_not_run_a_node_succeeds(name: str, context: dict[str, Any], make_here: MakeTask) -> None:
    make_here(name, task_id="gone", select="gone", extra_context=context).execute({})


def test_the_setting_makes_it_a_warning_in_the_log(
    make_here: MakeTask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__UNREPORTED_NODES", "warn")

    make_here("Run", task_id="gone", select="gone", extra_context=of("model.harbor.gone")).execute({})

    assert "has not run model.harbor.gone" in "".join(capfd.readouterr())


def test_tests_that_dbt_has_not_reported_beside_others_are_named_in_a_warning(
    make_here: MakeTask, capfd: pytest.CaptureFixture[str]
) -> None:
    context = {**of("model.harbor.staging"), "dbt_tests": ["test.harbor.edited.0a"]}

    make_here("Build", task_id="built", select="staging", extra_context=context).execute({})

    assert "has not reported 1 of 1 tests of this task: test.harbor.edited.0a." in "".join(capfd.readouterr())


@pytest.mark.parametrize("status", ["reused", "no-op"])
def test_a_node_that_dbt_has_not_built_and_counts_as_done_is_green_and_the_log_says_so(
    status: str, make_here: MakeTask, capfd: pytest.CaptureFixture[str]
) -> None:
    """As with dbt State and similar plugins."""

    class ReusingOperator(local.DbtRunLocalOperator):
        def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
            done = super().run_subprocess(command, env, cwd, **kwargs)
            results = Path(cwd) / "target" / "run_results.json"
            results.write_text(results.read_text().replace('"success"', f'"{status}"'))
            return done

    make_here(ReusingOperator, select="staging", extra_context=of("model.harbor.staging")).execute({})

    assert f"Not built, and done as dbt says: model.harbor.staging ({status})." in "".join(capfd.readouterr())
