"""The options of a run, read, and refused where they cannot be obeyed; and the installer that tasks are to use."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random

import pytest

from .reporting.known_failures import KnownFailures, read_known_failures
from .requirements import CORE, PROFILES, Level, Requirement, versions

INSTALLERS = ("auto", "uv", "pip")
AUTO = INSTALLERS[0]
_SETTING = "AIRFLOW__STANDARD__VENV_INSTALL_METHOD"
DBT_KINDS = ("python", "native")
"""Kinds of the fake dbt: a Python package with an adapter, or a program of its own."""
NATIVE = DBT_KINDS[1]
BRIEF, GLANCE = "brief", "glance"
"""For runs on seeded faults only. BRIEF: the race that must catch the fault. GLANCE: all other tests."""
_OFFERED_ROUNDS = {"quick": 25, "full": 200}
ROUNDS = {**_OFFERED_ROUNDS, BRIEF: 2, GLANCE: 2}
"""Value of ``--cosmos-rounds`` -> free rounds of a race."""
_CHOICES: Mapping[str, Sequence[str]] = {
    "level": [level.value.lower() for level in Level],
    "rounds": [*ROUNDS],
    "installer": INSTALLERS,
    "dbt_kind": DBT_KINDS,
}
"""Option -> its choices, the default first; users cannot choose ``BRIEF`` and ``GLANCE``."""


def installer_variables(installer: str, path: str | None) -> dict[str, str]:
    """Variables that make tasks use the installer that was asked for; none for ``auto``: tasks choose themselves.

    If uv is asked for, its folder is appended to PATH.

    :param installer: one of ``INSTALLERS``.
    :param path: PATH of this process; None: it has none.
    :raises pytest.UsageError: uv was asked for and is not there.
    """
    if installer == AUTO:
        return {}
    if installer != "uv":
        return {_SETTING: installer}
    uv = shutil.which("uv", path=path) or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise pytest.UsageError("--cosmos-installer=uv: uv is neither on PATH nor beside this Python; pip install uv.")
    return {_SETTING: installer, "PATH": os.pathsep.join([path or "", str(Path(uv).parent)])}


def installer_in_words(installer: str) -> str:
    """The installer in words, for the header and the report.

    :param installer: one of ``INSTALLERS``.
    """
    if installer != AUTO:
        return installer
    return "auto (uv on PATH)" if shutil.which("uv") else "auto (no uv on PATH)"


def command_of_uv(installer: str) -> str | None:
    """The uv with which the suite itself installs; None where the suite must not use uv, or there is no uv.

    :param installer: one of ``INSTALLERS``.
    """
    return None if installer == "pip" else shutil.which("uv")


def refuse_wrong_options(config: pytest.Config) -> None:
    """Refuse options that cannot be obeyed, and make the folder of the report.

    :param config: the configuration of the run.
    :raises pytest.UsageError: an option cannot be obeyed; the text says what can be given.
    """
    asked_timeout(config)
    for option, choices in {**_CHOICES, "rounds": [*_OFFERED_ROUNDS]}.items():
        _choice(config, option, choices)
    if asked(config, "dbt_kind") == NATIVE and has_servers(config):
        raise pytest.UsageError("--cosmos-servers has a Python dbt alone: leave out --cosmos-dbt-kind.")
    if config.getoption("cosmos_requirement") is not None and not wanted_patterns(config):
        raise pytest.UsageError("--cosmos-requirement= names none: give ids such as LOCK-003 or LOCK-*.")
    # Workers of pytest-xdist would have an Airflow each. In a worker itself another option names their number.
    if has_servers(config) and config.getoption("numprocesses", None):
        raise pytest.UsageError("--cosmos-servers starts one Airflow, which all of its checks share: leave out -n.")
    if config.getoption("cosmos_strict") and not config.getoption("cosmos_known_failures"):
        raise pytest.UsageError("--cosmos-strict needs --cosmos-known-failures=FILE: it is about what passes of those.")
    if config.getoption("cosmos_update_known_failures") and not config.getoption("cosmos_known_failures"):
        raise pytest.UsageError("--cosmos-update-known-failures needs --cosmos-known-failures=FILE, which it writes.")
    _refuse_where_nothing_can_be_written(config)


def refuse_where_none_is_judged(
    config: pytest.Config, specification: Mapping[str, Requirement], judged: Set[str]
) -> None:
    """Refuse a pattern of ``--cosmos-requirement`` that names no requirement of the run.

    :param config: the configuration of the run.
    :param specification: all requirements by id.
    :param judged: ids of the requirements of the run.
    :raises pytest.UsageError: a pattern names no requirement of the run.
    """
    for pattern in wanted_patterns(config):
        named = [one for unique, one in specification.items() if fnmatchcase(unique, pattern)]
        if not named:
            raise pytest.UsageError(
                f"--cosmos-requirement={pattern}: no requirement is called so. Give ids such as LOCK-003, or LOCK-*."
            )
        if judged.isdisjoint(one.id for one in named):
            one = named[0]
            run = f"judged with{'' if one.has_servers else 'out'} --cosmos-servers"
            raise pytest.UsageError(
                f"--cosmos-requirement={pattern}: {one.id} came with specification {one.since}, is of the profile "
                f"{one.profile}, and is {run}: this run judges others."
            )


def has_servers(config: pytest.Config) -> bool:
    """Whether the run judges the requirements that need servers of Airflow, and no others.

    :param config: the configuration of the run.
    """
    return bool(config.getoption("cosmos_servers"))


def _refuse_where_nothing_can_be_written(config: pytest.Config) -> None:
    """Refuse places that cannot be written before anything is judged; the folder of a report is made."""
    if folder := config.getoption("cosmos_report"):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise pytest.UsageError(
                f"--cosmos-report={folder}: no report can be written there ({error.strerror or error}). "
                "Give a directory; it is made where it is not there."
            ) from None
    file = config.getoption("cosmos_known_failures")
    if config.getoption("cosmos_update_known_failures") and not os.access(Path(file).parent, os.W_OK):
        raise pytest.UsageError(f"--cosmos-known-failures={file}: it cannot be written there. Give another place.")


def draw_seed(config: pytest.Config, told: str | None) -> None:
    """Draw the seed of the run where none was given.

    :param config: the configuration of the run.
    :param told: the seed that was drawn already, for a worker of pytest-xdist; None: this process is no worker.
    """
    if not config.getoption("cosmos_seed"):
        config.option.cosmos_seed = told or secrets.token_hex(4)


def drawn(config: pytest.Config, what: str) -> Random:
    """A source of random numbers, which gives the same numbers for one seed.

    :param config: the configuration of the run.
    :param what: the purpose of the numbers.
    """
    return Random(f"{config.getoption('cosmos_seed')} {what}")  # noqa: S311 - to be repeated


def _choice(config: pytest.Config, option: str, choices: Sequence[str]) -> str:
    """The value of an option, the first of its choices where it is not given.

    :raises pytest.UsageError: the value is none of the choices; the text names these.
    """
    named = str(config.getoption(f"cosmos_{option}") or choices[0])
    if named.lower() not in choices:
        raise pytest.UsageError(f"--cosmos-{option.replace('_', '-')}={named}: give one of {'|'.join(choices)}.")
    return named.lower()


def asked(config: pytest.Config, option: str) -> str:
    """The value of an option that has choices.

    :param config: the configuration of the run.
    :param option: ``level``, ``rounds``, ``installer`` or ``dbt_kind``.
    :raises pytest.UsageError: the value is none of the choices; the text names these.
    """
    return _choice(config, option, _CHOICES[option])


def asked_profiles(config: pytest.Config, declared: Collection[str]) -> list[str]:
    """The profiles of the run, in the order of ``PROFILES``: those that were asked for, or all that are declared.

    :param config: the configuration of the run.
    :param declared: the profiles into which the implementation has opted.
    :raises pytest.UsageError: no profile is named, or a profile is unknown or not declared.
    """
    words, there = _words(config, "cosmos_profiles"), [name for name in PROFILES if name in declared]
    if config.getoption("cosmos_profiles") is not None and not words:
        raise pytest.UsageError(f"--cosmos-profiles= names none: give names of {', '.join(there)}.")
    if strange := [word for word in words if word not in PROFILES]:
        raise pytest.UsageError(f"--cosmos-profiles={strange[0]}: there is no such profile: give {', '.join(there)}.")
    if undeclared := [word for word in words if word not in declared]:
        raise pytest.UsageError(
            f"--cosmos-profiles={undeclared[0]}: the implementation is judged by {', '.join(there)}; an adapter opts "
            "into others by its attribute profiles."
        )
    return [name for name in PROFILES if name in (words or declared) or name == CORE]


def asked_versions(config: pytest.Config, specification: Mapping[str, Requirement]) -> list[str]:
    """The versions of the specification whose requirements are judged: the asked version and all earlier versions.

    :param config: the configuration of the run.
    :param specification: all requirements by id.
    :raises pytest.UsageError: there is no such version.
    """
    known = versions(specification)
    return known[known.index(_choice(config, "spec", known)) :]


def asked_timeout(config: pytest.Config) -> float | None:
    """Seconds that one task may take; None: the speed of the machine decides.

    :param config: the configuration of the run.
    :raises pytest.UsageError: the value is no number of seconds.
    """
    named = config.getoption("cosmos_timeout")
    try:
        seconds = None if named is None else float(named)
    except ValueError:
        seconds = 0.0
    if seconds is not None and not 0 < seconds < math.inf:
        raise pytest.UsageError(f"--cosmos-timeout={named}: give seconds, such as 300.")
    return seconds


def known_failures(config: pytest.Config, specification: Mapping[str, Requirement]) -> KnownFailures:
    """The known failures of the file that an option names.

    :param config: the configuration of the run.
    :param specification: all requirements by id.
    :raises pytest.UsageError: as ``read_known_failures``; not for a file that is to be written and is not there yet.
    """
    file = config.getoption("cosmos_known_failures")
    if file and config.getoption("cosmos_update_known_failures") and not Path(file).exists():
        return {}
    return read_known_failures(file, specification)


def wanted_patterns(config: pytest.Config) -> list[str]:
    """Patterns of the ids that are to be judged; empty: all ids.

    :param config: the configuration of the run.
    """
    return _words(config, "cosmos_requirement")


def _words(config: pytest.Config, option: str) -> list[str]:
    words = (config.getoption(option) or "").split(",")
    return [word.strip() for word in words if word.strip()]


def asked_level(config: pytest.Config) -> Level:
    """The level whose failures, with those above it, decide the exit code.

    :param config: the configuration of the run.
    :raises pytest.UsageError: there is no such level.
    """
    return Level(asked(config, "level").upper())
