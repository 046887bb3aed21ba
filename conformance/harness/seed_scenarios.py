"""The toolkit's seed scenarios, and some of the suite's own, played on whole DAGs in a process of their own.

The suite's scenarios ask each refusal alone, and how much memory a large seed needs. The toolkit's ask at once whether
``when_seed_changes`` is refused, in which words, and without a library.
"""

from __future__ import annotations

import resource
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from pytest_cosmos_venv import SEED_SCENARIOS, SeedScenario
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.implementation import find_implementation
from pytest_cosmos_venv.seeds.ready_made import OTHER_MODES
from pytest_cosmos_venv.seeds.scenario_model import BUILD, CHANGED, MODES, Chapter, SeedStory, Steps
from pytest_cosmos_venv.seeds.scenarios import seed_scenarios

from ..adapter import Adapter

_HANDS_ON = Version("1.2.2")
LOCAL, VIRTUALENV = "local", "virtualenv"
UNDER_AIRFLOW = frozenset(
    {"the-default-runs-each-time", "unchanged-is-skipped", "a-skip-updates-no-asset", "a-load-updates-the-asset"}
)
"""Scenarios that run their tasks under Airflow. Other scenarios execute each task alone, in a tenth of the time."""
_SHOWN_FRAMES = 6
CHANGES = "when_seed_changes"
GROUP = "port/north"
MIB = 2**20
LARGE = {size: f"a-seed-of-{size}-mib-needs-little-memory" for size in (256, 1024)}
"""MiB of a large seed -> the id of the scenario that loads it."""
_MOST = 64
"""MiB of memory that a large seed may need more than a small one."""
_CHAPTER = Chapter(behavior=CHANGES)


def _lacks_a_library(harbor: SeedScenario) -> bool:
    """Whether a library of the mode is missing here."""
    with suppress(Exception):
        try:
            harbor.build()
        except ImportError:
            harbor.trace.add("build the DAG: a library of the mode is missing")
            return True
    return False


def _refusal(*words: str, needs_library: bool = True) -> Steps:
    def refuse(harbor: SeedScenario) -> None:
        if not (needs_library and _lacks_a_library(harbor)):
            harbor.must_be_refused(*words)

    return refuse


def _loading(size: int) -> Steps:
    def load(harbor: SeedScenario) -> None:
        harbor.run().must("ran")
        before = _peak()
        harbor.grow(size=size * MIB)
        harbor.run().must("ran")
        more = (_peak() - before) // MIB
        required = f"a seed of {size} MiB needs less than {_MOST} MiB of memory more than a small one"
        harbor.require(more < _MOST, required, f"{more} MiB more")

    return load


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


for _mode in OTHER_MODES:
    _CHAPTER.add(f"refused-with-{_mode}", MODES, _refusal(), execution_mode=_mode)
    _CHAPTER.add(f"refused-in-words-with-{_mode}", MODES, _refusal(CHANGES, _mode), execution_mode=_mode)
    _without = _refusal(needs_library=False)
    _CHAPTER.add(f"refused-without-the-library-of-{_mode}", MODES, _without, execution_mode=_mode)
_CHAPTER.add("refused-with-a-mode-in-a-group", MODES, _refusal(), execution_mode=OTHER_MODES[0], places=(GROUP,))
_CHAPTER.add("refused-with-build", BUILD, _refusal(), test_behavior="build")
_CHAPTER.add("refused-with-build-in-a-group", BUILD, _refusal(), test_behavior="build", places=(GROUP,))
for _size, _name in LARGE.items():
    _CHAPTER.add(_name, CHANGED, _loading(_size), model=None)
SCENARIOS: Mapping[str, SeedStory] = {each.id: each for each in (*SEED_SCENARIOS, *_CHAPTER.scenarios)}


def why_no_read_fails() -> str | None:
    """Why no read of a Variable can fail here; None where a read can fail.

    Airflow 2, and the task SDK before 1.2.2, take each failure of a secrets backend for a missing Variable. The SDK of
    Airflow 3.0 asks no backend for a Variable that the API server has. Later SDKs pass on that a read is denied.
    """
    try:
        sdk = Version(metadata.version("apache-airflow-task-sdk"))
    except metadata.PackageNotFoundError:
        sdk = Version("0")
    airflow = installed_airflow() or "0"
    if airflow.startswith("3.0.") or sdk >= _HANDS_ON:
        return None
    return f"Airflow {airflow} takes a Variable that cannot be read for one that is not there"


def play(
    adapter: Adapter,
    *,
    scenarios: Sequence[str],
    mode: str,
    folder: Path,
    wheelhouse: Wheelhouse,
    virtualenv_dir: Path,
    dbt_version: str | None,
) -> dict[str, str]:
    """Play scenarios one after the other, in this process.

    :param adapter: the adapter of the implementation.
    :param scenarios: ids of ``SCENARIOS``.
    :param mode: execution mode of scenarios that name none.
    :param folder: the path of a folder that does not exist.
    :param wheelhouse: the wheelhouse from which environments are installed.
    :param virtualenv_dir: directory that all scenarios share.
    :param dbt_version: the version of the fake dbt; None: the usual one.
    :returns: id of each scenario that failed -> what was required and what was seen.
    """
    implementation = find_implementation(adapter.named)
    failures: dict[str, str] = {}
    modes = {mode.value for mode in implementation.module("constants").ExecutionMode}
    for number, name in enumerate(scenarios):
        scenario = replace(SCENARIOS[name], options={"execution_mode": mode, **SCENARIOS[name].options})
        if scenario.options["execution_mode"] not in modes:
            continue
        # The name of the scenario would tell an implementation what is judged.
        place = folder / str(number)
        place.mkdir(parents=True)
        with seed_scenarios(
            implementation,
            place,
            wheelhouse=lambda: wheelhouse,
            virtualenv_dir=virtualenv_dir,
            under_airflow=name in UNDER_AIRFLOW,
        ) as stage:
            try:
                stage.play(scenario, dbt_version=dbt_version)
            except AssertionError as error:
                failures[name] = str(error)
            except ToolkitMisuse as error:  # the implementation has no word for what the scenario asks for
                failures[name] = f"{name} must come to its end; seen: {error}"
            except Exception:  # noqa: BLE001 - what an implementation raises, or leaves out so that none can go on
                failures[name] = f"{name} must come to its end; seen:\n{traceback.format_exc(-_SHOWN_FRAMES)}"
    return failures
