"""LOAD: from a dbt project to its nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cosmos_venv import FakeVenv

from ..adapter import Adapter
from ..fixtures import DoesNotApply
from ..harness.harness import Harness
from ..harness.sample_project import MODELS, Harbor, harbor, tasks_of
from ..requirements import requirement
from ..tasks import Shape

__all__ = ["harbor"]

LS = "dbt_ls"
LACKS_LOCAL_MODE = "it has no local mode"
WithoutDbt = Callable[[Path], dict[str, Shape]]


def _require_all_models(shape: Shape, *, how: str) -> None:
    __tracebackhide__ = True
    missing = [model for model in MODELS if not tasks_of(shape, model)]
    assert not missing, f"A project that is loaded {how} must have a task for each model; seen: {shape}"


@requirement("LOAD-001")
def test_a_manifest_is_loaded_without_dbt(harbor: Harbor) -> None:
    _require_all_models(harbor.render(), how="from a manifest, without dbt")


@requirement("LOAD-002")
@pytest.mark.parametrize("mode", ["local", "virtualenv"])
def test_dbt_ls_is_asked_where_dbt_is_there(
    harbor: Harbor, cosmos_fake_venv: FakeVenv, adapter: Adapter, does_not_apply: DoesNotApply, mode: str
) -> None:
    if mode == "local" and "local_mode" in adapter.absent:
        does_not_apply(LACKS_LOCAL_MODE)
    dbt = {"dbt_executable_path": str(cosmos_fake_venv.dbt), "invocation_mode": "subprocess"}
    execution = {"execution_mode": mode, **(dbt if mode == "local" else {})}

    seen = harbor.render(load=LS, render=dbt, execution=execution)

    _require_all_models(seen, how=f"by dbt ls in {mode} mode")
    assert [call for call in cosmos_fake_venv.calls if call.command == "ls"], (
        f"LoadMode.DBT_LS must ask the dbt that it is told; its record says: {cosmos_fake_venv.calls}; {seen}"
    )


@requirement("LOAD-007")
def test_dbt_ls_is_asked_where_no_way_is_named(harbor: Harbor, cosmos_fake_venv: FakeVenv) -> None:
    seen = harbor.render(
        load=None, render={"dbt_executable_path": str(cosmos_fake_venv.dbt), "invocation_mode": "subprocess"}
    )

    _require_all_models(seen, how="without a load mode and a manifest, by dbt ls")
    assert [call for call in cosmos_fake_venv.calls if call.command == "ls"], (
        f"Without a load mode and a manifest dbt ls must be asked; dbt's record says: {cosmos_fake_venv.calls}; {seen}"
    )


@pytest.fixture
def without_dbt(harbor: Harbor, adapter: Adapter, does_not_apply: DoesNotApply) -> WithoutDbt:
    """A function that builds the DAG with a dbt that is not there: mode -> its shape.

    :param harbor: the project.
    :param adapter: says which modes the implementation has.
    :param does_not_apply: ends the test where it has none of these modes.
    """
    modes = [
        *(["local"] if "local_mode" not in adapter.absent else []),
        *(["virtualenv"] if "dbt_ls_managed" in adapter.absent else []),
    ]
    if not modes:
        does_not_apply(f"{LACKS_LOCAL_MODE}, and in virtualenv mode its dbt ls brings a dbt of its own")

    def render(missing: Path) -> dict[str, Shape]:
        dbt = {"dbt_executable_path": str(missing)}
        return {
            mode: harbor.render(
                load=LS,
                render={**dbt, "invocation_mode": "subprocess"},
                execution={"execution_mode": mode, **(dbt if mode == "local" else {})},
            )
            for mode in modes
        }

    return render


@requirement("LOAD-003")
def test_dbt_ls_without_dbt_raises(without_dbt: WithoutDbt, tmp_path: Path) -> None:
    for mode, seen in without_dbt(tmp_path / "nowhere" / "dbt").items():
        assert seen.exception is not None, (
            f"LoadMode.DBT_LS in {mode} mode without dbt must raise while the DAG is built; seen: {seen}"
        )


@requirement("LOAD-005")
def test_it_says_what_is_missing_and_what_needs_none(without_dbt: WithoutDbt, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "dbt"
    for mode, seen in without_dbt(missing).items():
        said = seen.exception or ""
        assert str(missing) in said, f"The error in {mode} mode must name the missing executable; seen: {seen}"
        assert "manifest" in said.lower(), f"The error in {mode} mode must name a way without dbt; seen: {seen}"


@requirement("LOAD-004")
def test_dbt_ls_needs_no_dbt_beside_airflow(harbor: Harbor) -> None:
    harness = harbor.harness
    environments = {"virtualenv_dir": str(harness.virtualenv_dir)}

    seen = harbor.render(load=LS, execution=environments, variables=harness.wheelhouse.environment)

    _require_all_models(seen, how="by dbt ls in virtualenv mode, without dbt")
    assert harness.calls("ls"), f"The dbt of the managed environment must be asked; seen: no dbt ls; {seen}"


@requirement("LOAD-006")
def test_load_mode_has_the_documented_names(harness: Harness) -> None:
    seen = harness.ask("enum_members", name="LoadMode") or {}

    for name in ("DBT_LS", "DBT_MANIFEST", "MANIFEST"):
        assert name in seen, f"LoadMode must have {name}, as the documentation spells it; seen: {', '.join(seen)}"
    assert seen["MANIFEST"] == seen["DBT_MANIFEST"], f"MANIFEST must mean DBT_MANIFEST; seen: {seen}"
