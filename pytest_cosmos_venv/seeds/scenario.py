"""The scenario of a test with seeds: it changes seed files and stored checksums, and runs the DAG again.

Each change and each run becomes a step of the scenario's trace. A change can also happen while dbt loads a seed: the
fake dbt waits in the middle of the load until the change is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.dag_file import ScenarioDagFile, Setup, read_places
from pytest_cosmos_venv.seeds.edits import SeedEdits
from pytest_cosmos_venv.seeds.environment import Dbt, SeedEnvironment
from pytest_cosmos_venv.seeds.outcomes import SeedRendering, SeedRun, seed_outcome
from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.trace import ScenarioTrace
from pytest_cosmos_venv.seeds.variables import RememberedVariables

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.variables import Variables
    from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt

_LOOK_AGAIN = 0.01
_LOADING = ("seed", "build")


class WhileDbtRuns:
    """An action beside a run: it waits until a call of ``dbt seed`` is held, acts once, and lets the call go on.

    :param dbt: the fake dbt of the scenario.
    :param act: the action.
    """

    def __init__(self, dbt: ScriptedDbt, act: Callable[[], object]) -> None:
        self.has_acted = False
        self._dbt = dbt
        self._act = act
        self._error: BaseException | None = None
        self._is_over = threading.Event()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Let the action run beside the block; the end of the block raises an exception of the action."""
        before = len(self._dbt.calls)
        held = self._dbt.script("seed", hold=True)
        watch = threading.Thread(target=self._watch, args=(before, held.release), daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._is_over.set()
            held.release()
            watch.join()
            held.take_back()
        if self._error is not None:
            raise self._error

    def _watch(self, before: int, release: Callable[[], None]) -> None:
        while not self._is_over.wait(_LOOK_AGAIN):
            if any(call.held_at is not None for call in self._dbt.calls[before:]):
                break
        else:
            return
        try:
            self._act()
            self.has_acted = True
        except BaseException as error:  # noqa: BLE001 - raised again where the test can see it
            self._error = error
        finally:
            release()


class SeedScenario(SeedEdits):
    """A dbt project with seeds, the DAGs it is rendered in, and what earlier runs left behind.

    Methods with the parameter ``seed`` take the first seed by default. All steps are kept in a trace, which is shown
    when a requirement fails.

    :param environment: the Variables, the dbts and the run of a DAG.
    :param project: the project on the disk.
    :param setup: the choices of its DAG file.
    :param dbt: the dbt of the execution mode.
    :param trace: the steps so far.
    :param make_dag: builds the author's own DAG from this scenario; None: the DAGs that ``setup`` describes.
    """

    def __init__(
        self,
        *,
        environment: SeedEnvironment,
        project: SeedProject,
        setup: Setup,
        dbt: Dbt,
        trace: ScenarioTrace,
        make_dag: Callable[[SeedScenario], Any] | None = None,
    ) -> None:
        super().__init__(project, trace)
        self.setup = setup
        self.implementation = environment.implementation
        self._dbt = dbt
        self._operator_args = dict(dbt.operator_args)
        self._environment = environment
        self._make_dag = make_dag
        self._remembered = RememberedVariables(environment.variables)
        trace.add(
            f"a project with the seeds {', '.join(project.seeds)}; {setup if make_dag is None else 'its own DAG'}"
        )

    @property
    def dbt(self) -> ScriptedDbt:
        """The fake dbt: ``.calls`` are its calls so far, ``.script(...)`` says what it does."""
        return self._dbt.scripted

    @property
    def dbt_executable(self) -> Path | None:
        """The path of dbt, for ``ExecutionConfig(dbt_executable_path=...)``; None where each task installs its own."""
        return self._dbt.executable

    @property
    def operator_args(self) -> dict[str, Any]:
        """The ``operator_args`` for the author's own DAG, with ``full_refresh`` during ``run(full_refresh=True)``."""
        return dict(self._operator_args)

    @property
    def variables(self) -> Variables:
        """Airflow's Variables, in memory."""
        return self._environment.variables

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
        """Change the DAG file; earlier runs stay as they were.

        :param behavior: the new seed rendering behavior; None: as before.
        :param load: ``manifest`` or ``dbt_ls``; None: as before.
        :param places: the places in which the project is rendered; None: as before.
        """
        given = {"behavior": behavior, "load": load, "places": None if places is None else read_places(places)}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.setup = replace(self.setup, **changes)
        self.trace.add(f"change the DAG file: {self.setup}")

    def remember(self, checksum: str) -> None:
        """Replace the checksums in the Variables that earlier runs have set; JSON keeps its keys.

        :param checksum: the new checksum, in hexadecimal digits.
        :raises ToolkitMisuse: no run has set a Variable, or a Variable holds no checksum.
        """
        self._remembered.replace_checksums(checksum)
        self.trace.add(f"remember the checksum {checksum}")

    def corrupt_variable(self, text: str | None = None) -> None:
        """Damage the Variables that earlier runs set.

        :param text: the new text of each Variable; None: each text is cut in half.
        :raises ToolkitMisuse: no run has set a Variable.
        """
        self._remembered.damage(text)
        self.trace.add(f"corrupt what is remembered: {'cut in half' if text is None else repr(text[:40])}")

    def forget(self) -> None:
        """Delete the Variables that earlier runs set."""
        self._remembered.forget()
        self.trace.add("delete the Variables")

    @contextmanager
    def variables_down(self, *, reading: bool = True, writing: bool = True, denied: bool = False) -> Iterator[None]:
        """Let Variables fail within the block, at the same calls at which Airflow's own store fails.

        :param reading: whether reading fails.
        :param writing: whether setting and deleting fail.
        :param denied: whether reads fail because Airflow denies access.
        """
        what = " and ".join(word for word, wanted in (("reading", reading), ("writing", writing)) if wanted)
        self.trace.add(f"Variables are {'denied' if denied else 'down'} for {what}")
        with self.variables.outage(reads=reading, writes=writing, denied=denied):
            yield
        self.trace.add("Variables are back")

    def build(self, dag: str | None = None) -> SeedRendering:
        """Build a DAG without running it.

        :param dag: the id of the DAG. Default: the first one.
        """
        dag_id = self._dag_id(dag)
        places = [place for place in self.setup.places if place.dag_id == dag_id]
        return SeedRendering(dag=self._build(dag_id), places=places, seeds=self.project.seeds, _trace=self.trace)

    def must_be_refused(self, *words: str) -> None:
        """Fail with the whole trace unless building the first DAG raises ``CosmosValueError``.

        :param *words: words that the text of the error has to hold, in upper or lower case.
        """
        __tracebackhide__ = True
        required = f"building the DAG raises CosmosValueError that names {' and '.join(words)}"
        try:
            self._build(self._dag_id(None))
        except self._refusal as error:
            if not all(word.lower() in str(error).lower() for word in words):
                self.trace.fail(required, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - every other exception is shown as what was seen
            self.trace.fail(required, f"{type(error).__name__}: {error}")
        else:
            self.trace.fail(required, "the DAG was built")

    def must_be_accepted(self) -> None:
        """Fail with the whole trace when building the first DAG raises ``CosmosValueError``.

        An ImportError is no refusal: the library of an execution mode may not be installed here.
        """
        __tracebackhide__ = True
        try:
            self._build(self._dag_id(None))
        except self._refusal as error:
            self.trace.fail("the DAG is built", f"{type(error).__name__}: {error}")
        except ImportError as error:
            self.trace.add(f"build the DAG: this far, {error}")

    def require(self, is_so: bool, required: str, seen: str) -> None:
        """Fail with the whole trace unless a requirement is met; for requirements without their own method.

        :param is_so: whether the requirement is met.
        :param required: the requirement in words.
        :param seen: what was seen instead.
        """
        __tracebackhide__ = True
        if not is_so:
            self.trace.fail(required, seen)

    def run(
        self,
        dag: str | None = None,
        *,
        full_refresh: bool | str = False,
        dbt_fails: bool | str = False,
        after_parsing: Callable[[], object] | None = None,
        while_dbt_runs: Callable[[], object] | None = None,
    ) -> SeedRun:
        """Build a DAG again, as Airflow does before each run, and run it to its end.

        :param dag: the id of the DAG. Default: the first one.
        :param full_refresh: the operator argument of this name.
        :param dbt_fails: True: dbt fails to load all seeds; or the name of a seed that dbt fails to load.
        :param after_parsing: called between building the DAG and its run.
        :param while_dbt_runs: called while dbt is in the middle of its first ``dbt seed``.
        """
        __tracebackhide__ = True
        dag_id = self._dag_id(dag)
        built = self._build(dag_id, full_refresh)
        if after_parsing is not None:
            after_parsing()
        action = None if while_dbt_runs is None else WhileDbtRuns(self.dbt, while_dbt_runs)
        before = len(self.dbt.calls)
        with ExitStack() as stack:
            stack.enter_context(self._failing(dbt_fails))
            stack.enter_context(action.beside()) if action else None
            written = stack.enter_context(self._remembered.recorded())
            outcome = self._environment.run_dag(built)
        calls = tuple(self.dbt.calls[before:])
        places = [place for place in self.setup.places if place.dag_id == dag_id]
        seeds = [seed_outcome(built, outcome, place, seed, calls) for place in places for seed in self.project.seeds]
        run = SeedRun(dag=outcome, seeds=seeds, calls=calls, variables=written, _trace=self.trace)
        self.trace.add(f"{run}{' (full_refresh)' if full_refresh else ''}{' (dbt was to fail)' if dbt_fails else ''}")
        if action is not None and not action.has_acted:
            self.trace.fail("dbt seed runs", f"{run}; so nothing could be done while it ran")
        return run

    @property
    def _refusal(self) -> type[Exception]:
        error: type[Exception] = self.implementation.module("exceptions").CosmosValueError
        return error

    def _build(self, dag_id: str, full_refresh: bool | str = False) -> Any:
        self._operator_args = {**self._dbt.operator_args, **({"full_refresh": full_refresh} if full_refresh else {})}
        if self._make_dag is not None:
            made = self._make_dag(self)
            projects = {Path(given) for task in made.tasks if (given := getattr(task, "project_dir", None))}
            if projects and self.project.path not in projects:
                raise ToolkitMisuse(
                    f"make_dag returned a DAG of {', '.join(map(str, projects))}, but the scenario changes the seeds "
                    f"of {self.project.path}. Use project.path, operator_args and dbt_executable of the scenario. "
                    "A DAG of cosmos_airflow.load runs a fake dbt of its own, whose calls the scenario does not see."
                )
            return made
        return ScenarioDagFile(
            implementation=self.implementation,
            setup=self.setup,
            project=self.project,
            dbt=self._dbt,
            operator_args=self._operator_args,
        ).build(dag_id)

    @contextmanager
    def _failing(self, which: bool | str) -> Iterator[None]:
        failing = [self.project.file(which).stem] if isinstance(which, str) else self.project.seeds if which else ()
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
