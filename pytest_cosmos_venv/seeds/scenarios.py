"""The value of the fixture ``cosmos_seeds``, which makes scenarios, and the Variables and dbts that they use."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from pytest_cosmos_venv.environments.fake_venv import require_dbt_version
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.project import DbtProject
from pytest_cosmos_venv.seeds.dag_file import Setup, read_places
from pytest_cosmos_venv.seeds.environment import SeedEnvironment
from pytest_cosmos_venv.seeds.project import MODEL, NAME, SeedProject, copy_project, make_seed_project, use_project
from pytest_cosmos_venv.seeds.scenario import SeedScenario
from pytest_cosmos_venv.seeds.trace import ScenarioTrace

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
    from pytest_cosmos_venv.implementation import Implementation
    from pytest_cosmos_venv.seeds.scenario_model import SeedStory


@dataclass(kw_only=True)
class CosmosSeeds:
    """The maker of scenarios, each with a project and a dbt of its own; they share Airflow's Variables.

    :param environment: the things that all scenarios share.
    """

    environment: SeedEnvironment
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __call__(
        self,
        *,
        behavior: str | None = None,
        seeds: Sequence[str] = ("piers",),
        model: str | None = MODEL,
        places: Collection[str] = (NAME,),
        load: str = "manifest",
        test_behavior: str | None = "none",
        execution_mode: str = "local",
        dbt_version: str | None = None,
        project: DbtProject | Path | str | None = None,
        make_dag: Callable[[SeedScenario], Any] | None = None,
        sentence: str = "",
    ) -> SeedScenario:
        """Make a scenario: a project with seeds and no earlier run.

        :param behavior: ``always``, ``when_seed_changes``, ``render_only`` or ``none``; None leaves it to the
            implementation.
        :param seeds: the names of the seeds.
        :param model: the name of a model that reads all seeds; None: no model, and a run takes half the time.
        :param places: ``"harbor"`` is a DbtDag, ``"port/north"`` a DbtTaskGroup ``north`` in a DAG ``port``.
        :param load: ``manifest``, or ``dbt_ls`` (which the fake answers).
        :param test_behavior: ``none``, ``after_each``, ``after_all``, ``build``; None leaves it to the implementation.
        :param execution_mode: ``local``; ``virtualenv``, installed from a wheelhouse; DAGs of other modes can only be
            built.
        :param dbt_version: the version of the fake dbt; dbt 2, such as ``2.0.0a4``, is a program without a Python
            package. None: the default version, a dbt 1.
        :param project: a project of ``cosmos_project``; or, with ``make_dag``, the folder of your own project, which is
            copied.
        :param make_dag: builds your own DAG from this scenario, whose ``project.path``, ``project.manifest``,
            ``dbt_executable`` and ``operator_args`` go into its configuration.
        :param sentence: the sentence of a specification that the test checks; failures show it.
        :raises ToolkitMisuse: the implementation has no such enum member, the project has no seeds, or dbt has no such
            version.
        """
        setup = Setup(
            places=read_places(places),
            behavior=behavior,
            load=load,
            test_behavior=test_behavior,
            execution_mode=execution_mode,
        )
        implementation = self.environment.implementation
        setup.check(implementation)
        _check(seeds, project, make_dag)
        if dbt_version is not None:
            require_dbt_version(dbt_version)
        folder = self.environment.folder / f"seeds-{next(self._numbers)}"
        folder.mkdir()
        return SeedScenario(
            environment=self.environment,
            project=_project_in(folder, project, seeds, model, with_tests=(test_behavior or "").lower() != "none"),
            setup=setup,
            dbt=self.environment.dbt(execution_mode, folder, dbt_version),
            trace=ScenarioTrace(
                implementation=f"{implementation.import_root} {implementation.version}", sentence=sentence
            ),
            make_dag=make_dag,
        )

    def play(self, scenario: SeedStory, *, dbt_version: str | None = None) -> None:
        """Play one of ``SEED_SCENARIOS`` on the implementation under test.

        :param scenario: a ready-made scenario.
        :param dbt_version: the version of the fake dbt; None: the default version, a dbt 1.
        :raises AssertionError: the implementation does not do what the scenario requires; the text is the trace.
        """
        __tracebackhide__ = True
        scenario.steps(self(sentence=scenario.sentence, dbt_version=dbt_version, **scenario.options))


def _check(seeds: object, project: object, make_dag: object) -> None:
    if isinstance(seeds, str):
        raise ToolkitMisuse(f"seeds={seeds!r}: give a list, such as [{seeds!r}].")
    if make_dag is None and isinstance(project, (Path, str)):
        raise ToolkitMisuse(
            f"project={str(project)!r}: how a project of your own is rendered, your DAG says; give make_dag= too."
        )


def _project_in(
    folder: Path, project: DbtProject | Path | str | None, seeds: Sequence[str], model: str | None, *, with_tests: bool
) -> SeedProject:
    """Return the project of a scenario: made up, given by the test, or a copy of the author's own project."""
    if project is None:
        return make_seed_project(folder, seeds, model=model, with_tests=with_tests)
    if isinstance(project, DbtProject):
        return use_project(project, folder)
    return copy_project(Path(project), folder)


@contextmanager
def seed_scenarios(
    implementation: Implementation,
    folder: Path,
    *,
    wheelhouse: Callable[[], Wheelhouse],
    virtualenv_dir: Path | None = None,
    under_airflow: bool = True,
) -> Iterator[CosmosSeeds]:
    """Yield the maker of scenarios without the fixture, for example in a contender of a race.

    Runs use the Airflow home of this process; their rows stay in its database.

    :param implementation: the implementation under test.
    :param folder: an empty folder for projects and environments.
    :param wheelhouse: returns a wheelhouse; a scenario that installs a real environment calls it.
    :param virtualenv_dir: the folder in which scenarios of virtualenv mode keep their environments; None: a folder for
        each scenario.
    :param under_airflow: False: tasks are executed without Airflow, in a tenth of the time and without assets.
    """
    from pytest_cosmos_venv.airflow.variables import Variables, VariableStore
    from pytest_cosmos_venv.airflow.versions import this_airflow
    from pytest_cosmos_venv.environments.fake_venv import fake_venvs
    from pytest_cosmos_venv.runs.running import run_dag, run_without_airflow
    from pytest_cosmos_venv.seeds.environment import SeedEnvironment

    store = VariableStore()
    with (
        fake_venvs() as make_venv,
        # No telemetry of the implementation: a test has no network.
        mock.patch.dict(os.environ, {"DO_NOT_TRACK": "true"}),
        this_airflow().variables_in(store),
    ):
        environment = SeedEnvironment(
            folder=folder,
            implementation=implementation,
            variables=Variables(store),
            fake_venv=make_venv,
            wheelhouse=wheelhouse,
            virtualenv_dir=virtualenv_dir,
            run_dag=run_dag if under_airflow else run_without_airflow,
            under_airflow=under_airflow,
        )
        yield CosmosSeeds(environment=environment)
