"""A drawn dbt project of 300 models in 5 domains, and an oracle: what DAGs of its domains build, and how tasks end.

The oracle follows the documentation of DbtProjectDags and of batches (a batch for each folder), not their code:

- A batch runs when the batches of all its parents have succeeded. In it, dbt skips the children of a model that fails.
- A domain tells a reader that its models are there when all batches with models that the reader reads have succeeded.
- A domain that reads no other domain runs at each hour. A reader runs when all domains that it reads have told it so.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from pytest_cosmos_venv import DbtProject, FakeVenv
from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE

READS: dict[str, tuple[str, ...]] = {
    "orders": (),
    "visits": (),
    "finance": ("orders",),
    "marketing": ("orders", "visits"),
    "reports": ("finance", "marketing"),
}
"""The domains that each domain reads, the read domains first."""
ROOTS = [domain for domain, others in READS.items() if not others]
FOLDERS = dict.fromkeys(READS, ("core", "rest")) | dict.fromkeys(("marketing", "reports"), ("core",))
"""The folders of each domain. Its readers read the models of ``core`` alone, and reports those of ``rest`` too."""
MODELS_OF_A_DOMAIN = 60
_FAILING = 0.125
"""Share of the runs of a domain in which a model fails."""
_READING = 0.15
"""Share of the models that read a model of another domain."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of the project.

    :param parents: names of the models that it reads.
    """

    name: str
    domain: str
    folder: str
    parents: tuple[str, ...]

    @property
    def batch(self) -> str:
        """The id of the task that builds it."""
        return f"models_{self.domain}_{self.folder}_batch"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the DAG of one domain.

    :param built: how dbt reports each model that it is told to build.
    :param tasks: state of each task.
    """

    built: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)


Runs = dict[tuple[str, str], Run]
"""The runs of all DAGs by hour and domain."""
Built = dict[str, list[tuple[str, str]]]
"""By hour the models that dbt was told to build, with its reports, sorted. A model that is built twice stands twice."""


def drawn_models(seed: int) -> dict[str, Model]:
    """Return 300 models by name, each one after its parents."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    models: dict[str, Model] = {}
    for domain, folder in [(name, folder) for name in READS for folder in FOLDERS[name]]:
        for number in range(MODELS_OF_A_DOMAIN // len(FOLDERS[domain])):
            own = [each.name for each in models.values() if each.domain == domain]
            parents = drawn.sample(own, min(len(own), drawn.randint(1, 3)))
            for other in READS[domain]:
                if not own or drawn.random() < _READING:
                    folders = FOLDERS[other] if domain == "reports" else ("core",)
                    there = [each.name for each in models.values() if each.domain == other and each.folder in folders]
                    parents.append(drawn.choice(there))
            name = f"{domain}_{folder}_{number}"
            models[name] = Model(name=name, domain=domain, folder=folder, parents=tuple(parents))
    return models


def drawn_failures(models: Mapping[str, Model], hours: Iterable[str], seed: int) -> dict[str, set[str]]:
    """Return the models that fail at each hour, at most one of a domain."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    of = {domain: [each.name for each in models.values() if each.domain == domain] for domain in READS}
    return {hour: {drawn.choice(of[domain]) for domain in READS if drawn.random() < _FAILING} for hour in hours}


def fill_project(project: DbtProject, models: Mapping[str, Model]) -> Path:
    """Write the models into a project, and return the path of its manifest."""
    for each in models.values():
        lines = ["select 1 as id", *(f"-- {{{{ ref('{parent}') }}}}" for parent in each.parents)]
        project.model(f"{each.domain}/{each.folder}/{each.name}", "\n".join(lines))
    return project.manifest()


def expected_runs(models: Mapping[str, Model], failures: Mapping[str, set[str]], *, has_keys: bool) -> Runs:
    """Return the runs that there should be, if one hour comes after another.

    :param failures: the models that fail, by hour.
    :param has_keys: whether runs have partition keys. Then a reader waits for the domains of its own hour. Without
        keys, what it has been told at an earlier hour counts until its next run.
    """
    told: dict[str, set[str]] = {domain: set() for domain in READS}
    runs: Runs = {}

    def run(hour: str, domain: str) -> None:
        assert (hour, domain) not in runs
        made = runs[hour, domain] = expected_run(models, domain, failures[hour])
        for reader in _readers(domain):
            if made.tasks[f"ready_for_{reader}"] == "success":
                told[reader].add(domain)
                if told[reader] == {*READS[reader]}:
                    told[reader].clear()
                    run(hour, reader)

    for hour in failures:
        if has_keys:
            told = {domain: set() for domain in READS}
        for root in ROOTS:
            run(hour, root)
    return runs


def expected_run(models: Mapping[str, Model], domain: str, failing: set[str]) -> Run:
    """Return what a run of a domain builds, and how its tasks end."""
    run = Run()
    for folder in FOLDERS[domain]:
        inside = [each for each in models.values() if (each.domain, each.folder) == (domain, folder)]
        before = {models[name].batch for each in inside for name in each.parents if models[name].domain == domain}
        (batch,) = {each.batch for each in inside}
        if any(run.tasks[each] != "success" for each in before - {batch}):
            run.tasks[batch] = "upstream_failed"
            continue
        for each in inside:
            is_lost = any(run.built.get(name, "success") != "success" for name in each.parents)
            run.built[each.name] = "error" if each.name in failing else "skipped" if is_lost else "success"
        is_good = all(run.built[each.name] == "success" for each in inside)
        run.tasks[batch] = "success" if is_good else "failed"
    for reader in _readers(domain):
        read = {name for each in models.values() if each.domain == reader for name in each.parents}
        states = {run.tasks[models[name].batch] for name in read if models[name].domain == domain}
        run.tasks[f"ready_for_{reader}"] = "success" if states == {"success"} else "upstream_failed"
    return run


def needed_models(models: Mapping[str, Model], domain: str, reader: str) -> set[str]:
    """Return the models of a domain that must be built before a reader runs: all that it reads, and their parents."""
    needed = {name for each in models.values() if each.domain == reader for name in each.parents}
    for each in reversed([*models.values()]):  # each one after its parents
        if each.name in needed:
            needed |= {*each.parents}
    return {name for name in needed if models[name].domain == domain}


def _readers(domain: str) -> list[str]:
    return [reader for reader, others in READS.items() if domain in others]


# The fake dbt has a folder of its own for each hour, with a script and a record.


def program_of_all_hours(dbt: FakeVenv) -> Path:
    """Return the program of a fake dbt, which from now on has no folder but the one that a variable names."""
    program = dbt.dbt
    dbt.folder.rmdir()
    return program


def variables_of_an_hour(folder: Path, hour: str) -> dict[str, str]:
    """Return the environment variables that lead a task's dbt to the folder of an hour.

    :param hour: a template, such as ``{{ ds }}``.
    """
    return {RECORD_VARIABLE: f"{folder}/{hour}"}


def script_failures(folder: Path, failures: Mapping[str, set[str]]) -> None:
    """Let models fail at their hours."""
    for hour, failing in failures.items():
        ScriptedDbt(folder / hour).script("build", nodes=dict.fromkeys(failing, "error"))


def early_models(folder: Path, models: Mapping[str, Model], hours: Iterable[str]) -> set[tuple[str, str]]:
    """Return the hour and name of each model whose dbt began before the dbt of one of its parents had ended."""
    found: set[tuple[str, str]] = set()
    for hour in hours:
        calls = [(call, {_name(each) for each in call.nodes}) for call in ScriptedDbt(folder / hour).calls]
        ends = {name: call.ended_at for call, names in calls for name in names}
        for call, names in calls:
            for name in names:
                before = {*models[name].parents} - names
                if any((ends.get(parent) or inf) > call.started_at for parent in before):
                    found.add((hour, name))
    return found


def built_models(folder: Path, hours: Iterable[str]) -> Built:
    """Return what the fake dbt has recorded."""
    return {
        hour: sorted(
            (_name(unique_id), status)
            for call in ScriptedDbt(folder / hour).calls
            for unique_id, status in call.nodes.items()
        )
        for hour in hours
    }


def _name(unique_id: str) -> str:
    return unique_id.rpartition(".")[2]


def expected_models(runs: Runs, hours: Iterable[str]) -> Built:
    """Return what the fake dbt should have recorded."""
    return {
        hour: sorted(pair for (at, _), run in runs.items() if at == hour for pair in run.built.items())
        for hour in hours
    }


def tasks_of(runs: Runs) -> dict[tuple[str, str], dict[str, str]]:
    """Return the states of tasks, by hour and domain, in the order of the runs."""
    return {at: run.tasks for at, run in runs.items()}
