"""The command ``cosmos-venv doctor``: it tries what the product relies on, and says how to mend what does not work.

A check is a function that takes what is examined and yields results. It stands in ``CHECKS`` under its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from cosmos_venv.cli.doctor.check_result import CheckResult, Examined
from cosmos_venv.cli.doctor.configuration_check import (
    airflow_finds_the_file,
    airflow_is_supported,
    settings_are_known_and_possible,
)
from cosmos_venv.cli.doctor.dbt_check import environments_can_be_served, index_answers, sockets_can_be_made
from cosmos_venv.cli.doctor.directory_check import directories_can_hold_environments, temporary_files_can_be_run
from cosmos_venv.cli.doctor.hosts_check import ADAPTERS, hosts_are_known
from cosmos_venv.cli.doctor.lock_check import locks_lock
from cosmos_venv.cli.doctor.remote_check import remote_can_be_used
from cosmos_venv.cli.output import OK, WRONG, only_the_result_on_stdout, print_json, print_marked, steps, tell
from cosmos_venv.cli.parsing import absolute_path, add_action, existing_file
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.cli.parsing import Actions

_DESCRIPTION = (
    "Tests everything that cosmos-venv needs, and says how to repair what does not work: Airflow and its settings, "
    "the directories of environments (owner, permissions, file system, free space), their locks (with two processes), "
    "the installer and its index, the hosts that are asked beside it, the sockets of "
    "warm servers, the remote store, and DAG files that Airflow ignores. DAG files are not imported, and files that "
    "were made for a test are removed. Exit code 1: a check failed; a warning is no failure."
)
_Check = Callable[[Examined], Iterable[CheckResult]]
CHECKS: dict[str, tuple[_Check, ...]] = {
    "airflow": (airflow_is_supported,),
    "settings": (settings_are_known_and_possible,),
    "directory": (directories_can_hold_environments, temporary_files_can_be_run),
    "locks": (locks_lock,),
    "index": (index_answers,),
    "hosts": (hosts_are_known,),
    "sockets": (sockets_can_be_made, environments_can_be_served),
    "remote": (remote_can_be_used,),
    "discovery": (airflow_finds_the_file,),
}
_COLORS = {"ok": "green", "warning": "yellow", "failed": "red"}


def add_to(subjects: Actions) -> None:
    """Add ``cosmos-venv doctor``.

    :param subjects: the sub-commands of ``cosmos-venv``.
    """
    parser = add_action(subjects, "doctor", "test everything that cosmos-venv needs", _DESCRIPTION)
    parser.add_argument("dagfiles", nargs="*", type=existing_file, metavar="DAGFILE", help="a Python file with DAGs")
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        type=absolute_path,
        metavar="DIR",
        help="a virtualenv_dir; may be repeated. Those of [cosmos_venv] virtualenv_search_path are always checked",
    )
    parser.add_argument(
        "--only", action="append", choices=CHECKS, metavar="CHECK", help=f"one of {', '.join(CHECKS)}; may be repeated"
    )
    asked = parser.add_argument_group("Hosts that are asked beside the package index")
    asked.add_argument(
        "--requirement",
        action="append",
        default=[],
        metavar="REQ",
        help="one of py_requirements; may be repeated. The environment is built in a temporary directory",
    )
    asked.add_argument(
        "--adbc-driver", action="append", default=[], metavar="DRIVER", help="one of its adbc_drivers, for dbt 2"
    )
    asked.add_argument(
        "--adapter",
        action="append",
        choices=ADAPTERS,
        metavar="NAME",
        help=f"the database on which dbt 2 will run, one of {', '.join(ADAPTERS)}; duckdb by default",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.adbc_driver and not options.requirement:
        options.parser.error("--adbc-driver is of an environment that is built: give --requirement too")
    only = dict.fromkeys(options.only or CHECKS)
    named = Examined(
        files=tuple(options.dagfiles),
        directories=tuple(options.dir),
        requirements=tuple(options.requirement),
        adbc_drivers=tuple(options.adbc_driver),
        adapters=tuple(options.adapter or ADAPTERS[:1]),
    )
    return doctor(named, only=tuple(only), as_json=options.json)


def doctor(named: Examined, *, only: Sequence[str], as_json: bool) -> int:
    """Run the checks.

    :param named: the subjects that a user has named; the directories of the search path are examined too.
    :param only: names in ``CHECKS``; empty: all.
    :param as_json: whether stdout gets ``{"findings": [...]}`` in place of lines to read.
    :returns: the exit code, 1 when a check has failed.
    """
    results: list[CheckResult] = []
    with steps("examining", len(only), as_json=as_json) as step, only_the_result_on_stdout():
        examined = _with_search_path(named)
        for name in only:
            step.begin(name)
            results += [result for check in CHECKS[name] for result in check(examined)]
            step.end()
    return _report(results, as_json)


def _with_search_path(named: Examined) -> Examined:
    from cosmos_venv import settings
    from cosmos_venv.environments.store import stores_of

    try:
        searched = [store.directory for store in stores_of(settings.virtualenv_search_path)]
    except CosmosValueError:
        searched = []  # told by a check
    directories = tuple(dict.fromkeys([*named.directories, *searched]))
    return replace(named, directories=directories, searched=frozenset(searched) - set(named.directories))


def _report(results: Sequence[CheckResult], as_json: bool) -> int:
    # A requirement, the address of a proxy and what an installer says may have a password in them.
    results = [
        replace(each, subject=mask(each.subject), text=mask(each.text), way_out=mask(each.way_out)) for each in results
    ]
    if as_json:
        print_json({"findings": [asdict(each) for each in results]})
    else:
        print_marked([(each.outcome, _COLORS[each.outcome], _line(each)) for each in results])
        counts = {mark: sum(each.outcome == mark for each in results) for mark in _COLORS}
        tell(", ".join(f"{count} {mark}" for mark, count in counts.items() if count) or "nothing to examine", "dim")
    return WRONG if any(each.outcome == "failed" for each in results) else OK


def _line(result: CheckResult) -> str:
    return f"{result.check}  {result.subject}: {result.text} {result.way_out}".rstrip()
