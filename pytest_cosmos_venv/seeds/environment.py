"""The environment of a scenario: Variables in memory, and a dbt for each execution mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.fake_dbt import is_native

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import Variables
    from pytest_cosmos_venv.environments.fake_venv import FakeVenv
    from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
    from pytest_cosmos_venv.implementation import Implementation

ADAPTER = "duckdb"
_ALONE = {"should_store_compiled_sql": False}
_MUTE = {"emit_datasets": False}


@dataclass(frozen=True, kw_only=True)
class Dbt:
    """The dbt of an execution mode.

    :param scripted: the script and the record of its calls.
    :param executable: the path of dbt, for modes that run an installed dbt; None: each task installs its own dbt.
    :param execution: further arguments of ``ExecutionConfig`` beside the mode.
    :param render: further arguments of ``RenderConfig``.
    :param operator_args: arguments of each operator.
    """

    scripted: ScriptedDbt
    executable: Path | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)
    render: Mapping[str, Any] = field(default_factory=dict)
    operator_args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SeedEnvironment:
    """The things that one test has for all its scenarios.

    :param folder: an existing folder for projects and environments.
    :param implementation: the implementation under test.
    :param variables: Airflow's Variables, in memory.
    :param fake_venv: makes a fake environment in a folder, with a version of dbt; None: the default version.
    :param wheelhouse: builds the wheelhouse, or returns the existing one.
    :param run_dag: runs a DAG to its end, and returns its outcome.
    :param virtualenv_dir: the folder in which tasks of virtualenv mode keep their environments; None: each scenario has
        its own.
    :param under_airflow: whether Airflow runs the tasks, so that they can report assets and rendered fields.
    """

    folder: Path
    implementation: Implementation
    variables: Variables
    fake_venv: Callable[[Path, str | None], FakeVenv]
    wheelhouse: Callable[[], Wheelhouse]
    run_dag: Callable[[Any], Any]
    virtualenv_dir: Path | None = None
    under_airflow: bool = True

    def dbt(self, execution_mode: str, folder: Path, version: str | None = None) -> Dbt:
        """Return the dbt of an execution mode.

        :param execution_mode: the name of the mode, in upper or lower case.
        :param folder: an existing folder for its environment.
        :param version: the version of dbt; None: the usual one.
        """
        dbt = self._dbt(execution_mode, folder, version)
        if self.under_airflow:
            return dbt
        return replace(dbt, operator_args={**dbt.operator_args, **_ALONE}, render={**dbt.render, **_MUTE})

    def _dbt(self, execution_mode: str, folder: Path, version: str | None) -> Dbt:
        if execution_mode.lower() == "local":
            fake = self.fake_venv(folder / "venv", version)
            return Dbt(scripted=fake, executable=fake.dbt)
        if execution_mode.lower() == "airflow_async":
            # Models of this mode need a cloud warehouse, which a test does not have: only seeds are rendered.
            return Dbt(
                scripted=self.fake_venv(folder / "venv", version),
                execution={"async_py_requirements": _requirements(version)},
                render={"select": ["resource_type:seed"]},
            )
        if execution_mode.lower() != "virtualenv":
            # In other modes the DAG can only be built: a test has no cluster or container to run it in.
            return Dbt(scripted=self.fake_venv(folder / "venv", version))
        wheelhouse = self.wheelhouse()
        if version is not None:
            wheelhouse.add_dbt(version)
        return Dbt(
            scripted=wheelhouse,
            execution={"virtualenv_dir": self.virtualenv_dir or folder / "virtualenv"},
            operator_args={
                "py_requirements": _requirements(version),
                "pip_install_options": wheelhouse.pip_install_options,
            },
        )


def _requirements(version: str | None) -> list[str]:
    """The requirements of dbt and its adapter; a native dbt has no adapter package."""
    adapters = [] if version is not None and is_native(version) else [f"dbt-{ADAPTER}"]
    return ["dbt-core" if version is None else f"dbt-core=={version}", *adapters]
