"""What is ``cosmos_seed_scenario``? It makes scenarios, and plays the ready-made ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.project import DbtProject
from pytest_cosmos_venv.seeds.dag_setup import Setup
from pytest_cosmos_venv.seeds.places import read_places
from pytest_cosmos_venv.seeds.project import MODEL, NAME, SeedProject, copy_project, make_seed_project, use_project
from pytest_cosmos_venv.seeds.scenario import SeedScenario
from pytest_cosmos_venv.seeds.story import Story
from pytest_cosmos_venv.seeds.workbench import Workbench

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.seed_story import SeedStory


@dataclass(kw_only=True)
class SeedScenarios:
    """Makes scenarios, each with a project and a dbt of its own; they share Airflow's Variables."""

    workbench: Workbench
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
        project: DbtProject | Path | str | None = None,
        make_dag: Callable[[SeedScenario], Any] | None = None,
        sentence: str = "",
    ) -> SeedScenario:
        """A project with seeds and nothing that was run yet.

        :param behavior: ``always``, ``when_seed_changes``, ``render_only`` or ``none``; left to the implementation
            without it.
        :param seeds: their names.
        :param model: the name of one that reads all seeds; None: there is none, and a run takes half the time.
        :param places: ``"harbor"`` is a DbtDag, ``"port/north"`` a DbtTaskGroup ``north`` in a DAG ``port``.
        :param load: ``manifest``, or ``dbt_ls`` (which the look-alike answers).
        :param test_behavior: ``none``, ``after_each``, ``after_all``, ``build``; None leaves it to the implementation.
        :param execution_mode: ``local``; ``virtualenv``, installed from a wheelhouse; of others a DAG can be built.
        :param project: one of ``cosmos_dbt_project``; or, with ``make_dag``, the folder of your own, which is copied.
        :param make_dag: builds your own DAG: it is given this scenario, whose ``project.path``, ``project.manifest``,
            ``dbt_executable`` and ``operator_args`` go into its configuration.
        :param sentence: that requires what the test is about; failures show it.
        :raises ToolkitMisuse: for a name that the implementation does not have, and for a project without seeds.
        """
        setup = Setup(
            places=read_places(places),
            behavior=behavior,
            load=load,
            test_behavior=test_behavior,
            execution_mode=execution_mode,
        )
        setup.check(self.workbench.implementation)
        _check(seeds, project, make_dag)
        folder = self.workbench.folder / f"seeds-{next(self._numbers)}"
        folder.mkdir()
        return SeedScenario(
            workbench=self.workbench,
            project=_project_in(folder, project, seeds, model, with_tests=(test_behavior or "").lower() != "none"),
            setup=setup,
            dbt=self.workbench.dbt(execution_mode, folder),
            story=Story(teller=self._teller, sentence=sentence),
            make_dag=make_dag,
        )

    def play(self, scenario: SeedStory) -> None:
        """Play one of ``SEED_SCENARIOS`` on the implementation under test.

        :raises AssertionError: with the story, when it does not do what the scenario requires.
        """
        __tracebackhide__ = True
        scenario.steps(self(sentence=scenario.sentence, **scenario.options))

    @property
    def _teller(self) -> str:
        chosen = self.workbench.implementation
        return f"{chosen.import_root} {chosen.version}"


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
    """Made up, taken as it is, or a copy of the author's own."""
    if project is None:
        return make_seed_project(folder, seeds, model=model, with_tests=with_tests)
    if isinstance(project, DbtProject):
        return use_project(project, folder)
    return copy_project(Path(project), folder)
