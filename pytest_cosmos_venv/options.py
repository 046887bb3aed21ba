"""The options of the plugin, on the command line and in the ini file, and the checks that refuse options.

Every project that has this distribution installed imports this file in each test run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import pytest

CONFORMANCE = "--cosmos-conformance"
"""The switch to the suite."""
DAGS = "--cosmos-dags"
"""The switch to the checks of DAG files."""
SUITE = "pytest_cosmos_venv.conformance.session"
"""The plugin of the suite."""
_Owner = Literal["any run", "a project's tests", "the suite", "DAG checks"]


class _Option(NamedTuple):
    """An option of the command line. An option with a value may stand in the ini file too, named with underscores.

    :param name: the name without dashes before it.
    :param owner: the kind of run that it is for.
    :param text: its line in the help.
    :param metavar: the value in the help; None: a switch without a value.
    :param is_kept: whether a switch may stand in the ini file too.
    """

    name: str
    owner: _Owner
    text: str
    metavar: str | None = None
    is_kept: bool = False


class _Setting(NamedTuple):
    """A setting of the ini file alone.

    :param name: its name.
    :param kind: the type, as pytest names it.
    :param text: its line in the help.
    """

    name: str
    kind: Literal["linelist", "args"]
    text: str


_OPTIONS = (
    _Option(
        "cosmos-implementation",
        "any run",
        "The implementation, such as cosmos or cosmos_venv, or the adapter of one with another layout. "
        "Default: the one that is installed.",
        metavar="IMPORT_ROOT|module:Adapter",
    ),
    _Option(
        "cosmos-level",
        "the suite",
        "Conformance: requirements of this level and above it decide the exit code. Default: must.",
        metavar="must|should|beyond",
    ),
    _Option(
        "cosmos-requirement", "the suite", "Conformance: judge only these, such as LOCK-003,SEED-*.", metavar="IDS"
    ),
    _Option(
        "cosmos-known-failures",
        "the suite",
        "Conformance: the implementation's own list of requirements that it fails, which do not count.",
        metavar="FILE",
    ),
    _Option(
        "cosmos-report", "the suite", "Conformance: write report.json, report.html and a badge there.", metavar="DIR"
    ),
    _Option(
        "cosmos-profiles",
        "the suite",
        "Conformance: judge only these profiles, such as locks,seeds, and core. Default: all that the adapter names.",
        metavar="NAMES",
    ),
    _Option(
        "cosmos-spec",
        "the suite",
        "Conformance: judge only what this version of the specification required, as the newest one words it.",
        metavar="VERSION",
    ),
    _Option(
        "cosmos-rounds",
        "the suite",
        "Conformance: how many free rounds races have, 25 or 200. Default: quick.",
        metavar="quick|full",
    ),
    _Option(
        "cosmos-installer",
        "the suite",
        "Conformance: what tasks install with, as Airflow's setting venv_install_method says. Default: auto.",
        metavar="auto|uv|pip",
    ),
    _Option(
        "cosmos-timeout",
        "the suite",
        "Conformance: how long one task may take. Default: 60, or 40 times what the smoke check's task took.",
        metavar="SECONDS",
    ),
    _Option(
        "cosmos-dbt-kind",
        "the suite",
        "Conformance: whether the fake dbt is a Python package, as dbt 1 is, or a program of its own. Default: python.",
        metavar="python|native",
    ),
    _Option(
        "cosmos-seed",
        "the suite",
        "Conformance: draw the order of the checks and the names of their folders as the run with this seed did.",
        metavar="TEXT",
    ),
    _Option(
        "cosmos-cache-dir",
        "any run",
        "Where wheels and databases are kept between runs, relative to the root directory. Default: in pytest's cache.",
        metavar="DIR",
    ),
    _Option(
        "cosmos-dbt",
        "a project's tests",
        "The releases of dbt with which tests of cosmos_duckdb run, such as 1.11,1.12,2: each test with each of them. "
        "Default: 1.11. With several, dbt projects below the given paths are compiled and built too, DAG checks are "
        "made with each, and what differs is told.",
        metavar="RELEASES",
    ),
    _Option(
        "cosmos-record",
        "a project's tests",
        "Record each dbt that the tests start, without secrets, into DIR, a folder for each test; relative to the root "
        "directory.",
        metavar="DIR",
    ),
    _Option("cosmos-conformance", "any run", "Judge an implementation by the conformance suite, and run nothing else."),
    _Option(
        "cosmos-servers",
        "the suite",
        "Conformance: judge what needs servers of Airflow, and nothing else. Scheduler, API server and triggerer are "
        "started for it.",
    ),
    _Option("cosmos-strict", "the suite", "Conformance: a known failure that passes makes the run fail."),
    _Option(
        "cosmos-update-known-failures",
        "the suite",
        "Conformance: write the file of --cosmos-known-failures anew from what failed.",
    ),
    _Option(
        "cosmos-dags",
        "a project's tests",
        "Check each file below the given paths that names DbtDag or DbtTaskGroup, without network.",
        is_kept=True,
    ),
    _Option("cosmos-update-snapshots", "DAG checks", "DAG checks: store the shapes of the DAGs as they are now."),
)
_SETTINGS = (
    _Setting(
        "cosmos_dbt_requirements",
        "linelist",
        "How a release of --cosmos-dbt is installed where its number does not say it, one a line: "
        "1.12: dbt-core==1.12.0 dbt-duckdb.",
    ),
    _Setting(
        "cosmos_dbt_drivers",
        "args",
        "Files of database drivers that dbt 2 loads, such as libduckdb.so, relative to the root directory.",
    ),
    _Setting(
        "cosmos_dbt_sources",
        "linelist",
        "Files with the rows of sources, for projects that are built with several releases of --cosmos-dbt, one a "
        "line: raw.ships: tests/ships.csv.",
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Add all options, and all settings of the ini file.

    :param parser: pytest's parser of options.
    """
    group = parser.getgroup("cosmos", "dbt in Airflow (pytest-cosmos-venv)")
    for option in _OPTIONS:
        if option.metavar is not None:
            group.addoption(f"--{option.name}", metavar=option.metavar, help=option.text)
            parser.addini(_key(option.name), f"As --{option.name}. {option.text}")
        else:
            group.addoption(f"--{option.name}", action="store_true", help=option.text)
        if option.is_kept:
            parser.addini(_key(option.name), f"As --{option.name}.", type="bool", default=False)
    for setting in _SETTINGS:
        parser.addini(setting.name, setting.text, type=setting.kind)


def refuse_options_of_the_suite(config: pytest.Config) -> None:
    """Refuse options of the suite in a run without the suite, where the user would wait for a report in vain.

    :param config: the configuration of the run.
    :raises pytest.UsageError: such an option is given.
    """
    given = _given(config, "the suite")
    if given and not config.pluginmanager.hasplugin(SUITE):
        raise pytest.UsageError(f"{', '.join(given)}: give {CONFORMANCE} too, which runs the suite, or leave it out.")


def refuse_options_of_dag_checks(config: pytest.Config) -> None:
    """Refuse options of the DAG checks in a run without them.

    :param config: the configuration of the run.
    :raises pytest.UsageError: such an option is given.
    """
    given = _given(config, "DAG checks")
    if given:
        raise pytest.UsageError(f"{', '.join(given)}: give {DAGS} too, which checks DAG files, or leave it out.")


def refuse_beside_the_suite(arguments: Sequence[str]) -> None:
    """Refuse options that have no effect in the suite. In the ini file they are allowed, for other runs.

    :param arguments: the command line of the run.
    :raises pytest.UsageError: such an option is given.
    """
    others = [f"--{each.name}" for each in _OPTIONS if each.owner in ("a project's tests", "DAG checks")]
    words = {argument.partition("=")[0] for argument in arguments}
    given = [option for option in others if option in words]
    if given:
        raise pytest.UsageError(
            f"{', '.join(given)}: the suite does nothing with it: leave it out, or leave out {CONFORMANCE}."
        )


def options_of_the_suite(config: pytest.Config) -> list[str]:
    """Return the suite's options that stand in the project's ini file and not on the command line.

    The suite reads an ini file of its own, so these options have to be passed on.

    :param config: the configuration of the run.
    """
    said = {
        name: config.getini(_key(name))
        for name in (each.name for each in _OPTIONS if each.owner == "the suite" and each.metavar is not None)
        if getattr(config.option, _key(name)) is None
    }
    return [f"--{name}={value}" for name, value in said.items() if value]


def _given(config: pytest.Config, owner: _Owner) -> list[str]:
    return [f"--{each.name}" for each in _OPTIONS if each.owner == owner and getattr(config.option, _key(each.name))]


def _key(option: str) -> str:
    """Return the name of an option in the ini file, which is also its name among the options that were given."""
    return option.replace("-", "_")
