"""What does pytest see of the toolkit? The options, the rooms its fixtures are in, and the switch to the suite.

Every project that has this distribution installed imports this file and the named rooms in each test run: the standard
library and pytest only; everything else on first use.
"""

from __future__ import annotations

import os

import pytest

ROOMS = (
    "pytest_cosmos_venv.fixtures",
    "pytest_cosmos_venv.airflow.fixtures",
    "pytest_cosmos_venv.dags.fixtures",
    "pytest_cosmos_venv.environments.fixtures",
    "pytest_cosmos_venv.processes.fixtures",
    "pytest_cosmos_venv.projects.fixtures",
    "pytest_cosmos_venv.racers.fixtures",
    "pytest_cosmos_venv.races.fixtures",
    "pytest_cosmos_venv.seeds.fixtures",
)

_CONFORMANCE = "--cosmos-conformance"
# Options with a value; each may stand in the ini file too, under its name with underscores.
_VALUES = (
    (
        "cosmos-implementation",
        "IMPORT_ROOT|module:Adapter",
        "The implementation, such as cosmos or cosmos_venv, or the adapter of one with another layout. "
        "Default: the one that is installed.",
    ),
    (
        "cosmos-cache-dir",
        "DIR",
        "Where wheels and databases are kept between runs, relative to the root directory. Default: in pytest's cache.",
    ),
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The options, in a group of their own; the rooms, whose own options follow."""
    # Not by pytest_plugins: pytest looks through the metadata of all distributions for each name that stands there.
    for room in ROOMS:
        pluginmanager.import_plugin(room)
    group = parser.getgroup("cosmos", "dbt in Airflow (pytest-cosmos-venv)")
    group.addoption(
        _CONFORMANCE,
        action="store_true",
        help="Judge an implementation by the conformance suite, and run nothing else.",
    )
    for name, metavar, text in _VALUES:
        group.addoption(f"--{name}", metavar=metavar, help=text)
        parser.addini(name.replace("-", "_"), f"As --{name}. {text}")
    group.addoption(
        "--cosmos-cache-key",
        action="store_true",
        help="Print the key that names the content of --cosmos-cache-dir, for the cache of a CI, and end.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """The suite runs whatever the project's conftest.py does or breaks."""
    if early_config.known_args_namespace.cosmos_conformance:
        early_config.known_args_namespace.noconftest = True


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Do in this run's stead what an option asks for: print the cache key, or run the suite; returns its exit code."""
    if config.option.help or config.option.version:
        return None
    if config.option.cosmos_cache_key:
        from pytest_cosmos_venv.sharing import cache_key

        print(cache_key())
        return pytest.ExitCode.OK
    if not config.option.cosmos_conformance:
        return None
    from pytest_cosmos_venv.suite import run_suite

    arguments = list(config.invocation_params.args)
    _refuse_paths(config, arguments)
    return run_suite(
        [argument for argument in arguments if argument != _CONFORMANCE],
        implementation=config.option.cosmos_implementation,
        set_aside=_set_aside(config),
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Which implementation is used, where that can be told without looking for it."""
    if config.pluginmanager.hasplugin("pytest_cosmos_venv.conformance.session"):  # which says it itself
        return None
    from pytest_cosmos_venv.fixtures import named_option
    from pytest_cosmos_venv.implementation import describe_choice

    choice = describe_choice(named_option(config, "cosmos_implementation"))
    return f"cosmos: implementation {choice}" if choice else None


def _refuse_paths(config: pytest.Config, arguments: list[str]) -> None:
    paths = [path for path in config.option.file_or_dir if path in arguments]
    if paths:
        raise pytest.UsageError(f"{_CONFORMANCE} runs the suite and nothing else: leave out {' '.join(paths)}.")


def _set_aside(config: pytest.Config) -> list[str]:
    """What of the project's configuration has no say in the suite, in the words of its owner."""
    found = []
    if config.inipath is not None:
        found.append(config.inipath.name)
    if (config.rootpath / "conftest.py").is_file():
        found.append("conftest.py")
    found += [name for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if os.environ.get(name)]
    return found
