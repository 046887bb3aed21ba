"""What does pytest see of the toolkit? The options, the fixtures, and the switch to the conformance suite.

Every project that has this distribution installed imports this file in each test run: the standard library and pytest
only; everything else on first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_cosmos_venv.wheelhouse import Wheelhouse

_CONFORMANCE = "--cosmos-conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("cosmos", "dbt in Airflow (pytest-cosmos-venv)")
    group.addoption(
        _CONFORMANCE,
        action="store_true",
        help="Judge an implementation by the conformance suite, and run nothing else.",
    )
    group.addoption(
        "--cosmos-implementation",
        metavar="IMPORT_ROOT",
        help="The implementation, such as cosmos or cosmos_venv. Default: the one that is installed.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """The suite runs whatever the project's conftest.py does or breaks."""
    if early_config.known_args_namespace.cosmos_conformance:
        early_config.known_args_namespace.noconftest = True


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With ``--cosmos-conformance``: run the suite in this run's stead and hand on its exit code."""
    if not config.option.cosmos_conformance or config.option.help or config.option.version:
        return None
    from pytest_cosmos_venv.suite import run_suite

    arguments = list(config.invocation_params.args)
    _refuse_paths(config, arguments)
    return run_suite(
        [argument for argument in arguments if argument != _CONFORMANCE],
        implementation=config.option.cosmos_implementation,
        set_aside=_set_aside(config),
    )


@pytest.fixture(scope="session")
def cosmos_wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """A folder of real wheels to install from without network: look-alikes of dbt-core, dbt-duckdb, dbt-postgres.

    ``.pip_install_options`` makes any operator install from it, ``.add_dbt(version)`` adds one. The installed ``dbt``
    takes dbt's command line and writes down each call where ``COSMOS_DBT_RECORD_DIR`` names a folder;
    ``read_dbt_calls(folder)`` reads it.
    """
    from pytest_cosmos_venv.wheelhouse import build_wheelhouse

    return build_wheelhouse(tmp_path_factory.mktemp("cosmos-wheelhouse"))


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
