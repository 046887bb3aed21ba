"""API: what a run gives back, and what becomes of templates."""

from __future__ import annotations

from .bench import Bench
from .requirements import requirement
from .runs import is_below


@requirement("API-011")
def test_run_command_returns_what_dbt_said(bench: Bench) -> None:
    bench.wheelhouse.script("run", stdout=["the tide comes in", "the tide goes out"], stderr=["a gull cries"])

    seen = bench.ask("result_of_run_command", task=bench.shared_task(), command=["dbt", "run"])

    assert seen.get("exit_code") == 0, f"the result of run_command must have exit_code 0; seen: {seen}"
    lines = [str(line).strip() for line in seen.get("full_output") or ()]
    missing = [line for line in ("the tide comes in", "the tide goes out", "a gull cries") if line not in lines]
    assert not missing, f"full_output must have each line that dbt wrote, on stderr too; missing: {missing} in {seen}"
    assert str(seen.get("output", "")).strip() in lines, f"output must be a line that dbt wrote; seen: {seen}"


@requirement("API-013")
def test_templates_of_directory_and_flag_are_rendered(bench: Bench) -> None:
    meant = bench.shared_directory
    named = bench.task(under_airflow=True, virtualenv_dir=f"{meant.parent}/{{{{ '{meant.name}' }}}}")
    flagged = named.with_arguments(virtualenv_dir=str(meant), is_virtualenv_dir_temporary="{{ 1 > 2 }}")

    outcome = bench.run(named, flagged)

    assert outcome.succeeded, f"tasks with templates must succeed; seen: {outcome}"
    places = [call.prefix for call in bench.calls("run")]
    assert len(places) == 2, f"each of two tasks must run dbt once; seen: {bench.calls()}"
    assert is_below(places[0], meant), (
        f"virtualenv_dir={named.arguments['virtualenv_dir']!r} must lead to an environment in {meant}; "
        f"seen: {places[0]}"
    )
    assert is_below(places[1], meant), (
        f"is_virtualenv_dir_temporary that renders to False must leave the environment in {meant}; seen: {places[1]}"
    )
