"""API: what a run gives back, and what becomes of templates."""

from __future__ import annotations

from .bench import Bench
from .requirements import requirement


@requirement("API-011")
def test_run_command_returns_what_dbt_said(bench: Bench) -> None:
    bench.wheelhouse.script("run", stdout=["the tide comes in", "the tide goes out"], stderr=["a gull cries"])

    seen = bench.ask("result_of_run_command", task=bench.task(), command=["dbt", "run"])

    assert seen.get("exit_code") == 0, f"the result of run_command must have exit_code 0; seen: {seen}"
    lines = [str(line).strip() for line in seen.get("full_output", ())]
    missing = [line for line in ("the tide comes in", "the tide goes out", "a gull cries") if line not in lines]
    assert not missing, f"full_output must have each line that dbt wrote, on stderr too; missing: {missing} in {seen}"
    assert str(seen.get("output", "")).strip() in lines, f"output must be a line that dbt wrote; seen: {seen}"


@requirement("API-013")
def test_a_template_of_the_directory_is_rendered(bench: Bench) -> None:
    bench.virtualenv_dir.mkdir()
    task = bench.task(under_airflow=True, virtualenv_dir=f"{bench.virtualenv_dir}/{{{{ 'north' }}}}")

    outcome = bench.run(task)

    assert outcome.succeeded, f"a task whose virtualenv_dir is a template must succeed; seen: {outcome}"
    seen = [entry.name for entry in bench.virtualenv_dir.iterdir()]
    assert seen == ["north"], f"the environment must be kept in the rendered directory, north; seen: {seen}"


@requirement("API-013")
def test_a_template_of_the_flag_that_renders_to_false_is_false(bench: Bench) -> None:
    task = bench.kept_task(under_airflow=True, is_virtualenv_dir_temporary="{{ 1 > 2 }}")

    outcome = bench.run(task)

    assert outcome.succeeded, f"a task whose is_virtualenv_dir_temporary is a template must succeed; seen: {outcome}"
    prefixes = [str(call.prefix) for call in bench.calls("run")]
    assert all(prefix.startswith(str(bench.virtualenv_dir.resolve())) for prefix in prefixes), (
        f"with is_virtualenv_dir_temporary rendered to False, dbt must run in {bench.virtualenv_dir}; seen: {prefixes}"
    )
