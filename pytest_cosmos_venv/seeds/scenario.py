"""What can a test do with seeds? Change their files and what is remembered of them, and run their DAG again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.dag_file import DagFile
from pytest_cosmos_venv.seeds.dag_setup import Setup
from pytest_cosmos_venv.seeds.edits import SeedEdits
from pytest_cosmos_venv.seeds.judging import judge
from pytest_cosmos_venv.seeds.meanwhile import Meanwhile
from pytest_cosmos_venv.seeds.outcomes import SeedRun
from pytest_cosmos_venv.seeds.places import read_places
from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.remembered import Remembered
from pytest_cosmos_venv.seeds.rendering import SeedRendering
from pytest_cosmos_venv.seeds.story import Story
from pytest_cosmos_venv.seeds.workbench import Dbt, Workbench

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import Variables
    from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt

_LOADING = ("seed", "build")


class SeedScenario(SeedEdits):
    """A dbt project with seeds, the DAGs it is rendered in, and what earlier runs left behind.

    A method that takes the name of a seed means the first one without it. What is done and seen becomes a story,
    which a requirement that is not met tells.

    :param setup: what its DAG file says.
    :param make_dag: builds the author's own DAG from this scenario; None: the DAGs that ``setup`` describes.
    """

    def __init__(
        self,
        *,
        workbench: Workbench,
        project: SeedProject,
        setup: Setup,
        dbt: Dbt,
        story: Story,
        make_dag: Callable[[SeedScenario], Any] | None = None,
    ) -> None:
        super().__init__(project, story)
        self.setup = setup
        self.implementation = workbench.implementation
        self._dbt = dbt
        self._operator_args = dict(dbt.operator_args)
        self._workbench = workbench
        self._make_dag = make_dag
        self._remembered = Remembered(workbench.variables)
        story.add(
            f"a project with the seeds {', '.join(project.seeds)}; {setup if make_dag is None else 'its own DAG'}"
        )

    @property
    def dbt(self) -> ScriptedDbt:
        """The look-alike dbt: ``.calls`` is what it was told, ``.script(...)`` says what it does."""
        return self._dbt.scripted

    @property
    def dbt_executable(self) -> Path | None:
        """Its path, for ``ExecutionConfig(dbt_executable_path=...)``; None where each task installs its own."""
        return self._dbt.executable

    @property
    def operator_args(self) -> dict[str, Any]:
        """What a DAG of the author's own hands to its operators, among it what ``run(full_refresh=True)`` asks for."""
        return dict(self._operator_args)

    @property
    def variables(self) -> Variables:
        """Airflow's Variables, in memory."""
        return self._workbench.variables

    @property
    def remembered(self) -> Mapping[str, str]:
        """The Variables that runs have set, as they are now."""
        return self._remembered.values

    def change(
        self,
        *,
        behavior: str | None = None,
        load: str | None = None,
        places: Collection[str] | None = None,
    ) -> None:
        """Change the DAG file: what is given, as for the fixture. Earlier runs stay what they were."""
        given = {"behavior": behavior, "load": load, "places": None if places is None else read_places(places)}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.setup = replace(self.setup, **changes)
        self.story.add(f"change the DAG file: {self.setup}")

    def remember(self, checksum: str) -> None:
        """Let the Variables that earlier runs set say that this checksum was loaded; JSON keeps its shape.

        :raises ToolkitMisuse: no run has set one, or no checksum can be recognised in it.
        """
        self._remembered.replace_checksums(checksum)
        self.story.add(f"remember the checksum {checksum}")

    def corrupt_variable(self, text: str | None = None) -> None:
        """Damage the Variables that earlier runs set: cut them in half, or write ``text`` into them.

        :raises ToolkitMisuse: no run has set one.
        """
        self._remembered.damage(text)
        self.story.add(f"corrupt what is remembered: {'cut in half' if text is None else repr(text[:40])}")

    def forget(self) -> None:
        """Delete the Variables that earlier runs set."""
        self._remembered.forget()
        self.story.add("delete the Variables")

    @contextmanager
    def variables_down(self, *, reading: bool = True, writing: bool = True) -> Iterator[None]:
        """For the length of the block Variables fail where Airflow's own store fails."""
        what = " and ".join(word for word, wanted in (("reading", reading), ("writing", writing)) if wanted)
        self.story.add(f"Variables are down for {what}")
        with self.variables.outage(reads=reading, writes=writing):
            yield
        self.story.add("Variables are back")

    def build(self, dag: str | None = None) -> SeedRendering:
        """Build a DAG without running it.

        :param dag: its id; the first one without it.
        """
        dag_id = self._dag_id(dag)
        places = [place for place in self.setup.places if place.dag_id == dag_id]
        return SeedRendering(dag=self._build(dag_id), places=places, seeds=self.project.seeds, _story=self.story)

    def must_be_refused(self, *words: str) -> None:
        """Fail with the whole story unless building the first DAG raises ``CosmosValueError``.

        :param words: what its text has to name, in any case.
        """
        __tracebackhide__ = True
        required = f"building the DAG raises CosmosValueError that names {' and '.join(words)}"
        try:
            self._build(self._dag_id(None))
        except self._refusal as error:
            if not all(word.lower() in str(error).lower() for word in words):
                self.story.fail(required, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was seen
            self.story.fail(required, f"{type(error).__name__}: {error}")
        else:
            self.story.fail(required, "the DAG was built")

    def must_be_accepted(self) -> None:
        """Fail with the whole story when building the first DAG raises ``CosmosValueError``.

        A library that the execution mode needs and that is not installed here is nobody's refusal.
        """
        __tracebackhide__ = True
        try:
            self._build(self._dag_id(None))
        except self._refusal as error:
            self.story.fail("the DAG is built", f"{type(error).__name__}: {error}")
        except ImportError as error:
            self.story.add(f"build the DAG: this far, {error}")

    def require(self, is_so: bool, required: str, seen: str) -> None:
        """Fail with the whole story unless ``is_so``; for what has no method of its own.

        :param required: in words.
        :param seen: instead.
        """
        __tracebackhide__ = True
        if not is_so:
            self.story.fail(required, seen)

    def run(
        self,
        dag: str | None = None,
        *,
        full_refresh: bool | str = False,
        dbt_fails: bool | str = False,
        after_parsing: Callable[[], object] | None = None,
        while_dbt_runs: Callable[[], object] | None = None,
    ) -> SeedRun:
        """Build a DAG anew, as Airflow does before each run, and run it to its end.

        :param dag: its id; the first one without it.
        :param full_refresh: the operator argument of this name.
        :param dbt_fails: whether dbt fails to load the seeds; or the name of the one seed that it fails to load.
        :param after_parsing: done between building the DAG and its run.
        :param while_dbt_runs: done while dbt is in the middle of its first ``dbt seed``.
        """
        __tracebackhide__ = True
        dag_id = self._dag_id(dag)
        built = self._build(dag_id, full_refresh)
        if after_parsing is not None:
            after_parsing()
        meanwhile = None if while_dbt_runs is None else Meanwhile(self.dbt, while_dbt_runs)
        before = len(self.dbt.calls)
        with ExitStack() as stack:
            stack.enter_context(self._failing(dbt_fails))
            stack.enter_context(meanwhile.beside()) if meanwhile else None
            written = stack.enter_context(self._remembered.listening())
            outcome = self._workbench.run_dag(built)
        calls = tuple(self.dbt.calls[before:])
        places = [place for place in self.setup.places if place.dag_id == dag_id]
        seeds = [judge(built, outcome, place, seed, calls) for place in places for seed in self.project.seeds]
        run = SeedRun(dag=outcome, seeds=seeds, calls=calls, variables=written, _story=self.story)
        self.story.add(f"{run}{' (full_refresh)' if full_refresh else ''}{' (dbt was to fail)' if dbt_fails else ''}")
        if meanwhile is not None and not meanwhile.has_acted:
            self.story.fail("dbt seed runs", f"{run}; so nothing could be done while it ran")
        return run

    @property
    def _refusal(self) -> type[Exception]:
        error: type[Exception] = self.implementation.module("exceptions").CosmosValueError
        return error

    def _build(self, dag_id: str, full_refresh: bool | str = False) -> Any:
        self._operator_args = {**self._dbt.operator_args, **({"full_refresh": full_refresh} if full_refresh else {})}
        if self._make_dag is not None:
            return self._make_dag(self)
        return DagFile(
            implementation=self.implementation,
            setup=self.setup,
            project=self.project,
            dbt=self._dbt,
            operator_args=self._operator_args,
        ).build(dag_id)

    @contextmanager
    def _failing(self, which: bool | str) -> Iterator[None]:
        failing = (
            [self.project.file(which).path.stem] if isinstance(which, str) else self.project.seeds if which else ()
        )
        scripts = [(command, seed) for seed in failing for command in _LOADING]
        rules = [self.dbt.script(command, select=seed, exit_code=1) for command, seed in scripts]
        try:
            yield
        finally:
            for rule in rules:
                rule.take_back()

    def _dag_id(self, dag: str | None) -> str:
        known = list(dict.fromkeys(place.dag_id for place in self.setup.places))
        if dag is not None and dag not in known:
            raise ToolkitMisuse(f"dag={dag!r}: this scenario has {', '.join(known)}.")
        return known[0] if dag is None else dag
