"""Checks of the configuration: Airflow's release, our settings, and whether Airflow looks into a DAG file.

In safe mode Airflow reads a file only where two words occur in it, in code or in a comment.

:source: Airflow's ``airflow.utils.file.might_contain_dag``; 3.3 takes ``asset`` for ``dag`` too.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.settings.table import SETTINGS

_OLDEST = (2, 10)


def airflow_is_supported(_: Examined) -> Iterator[CheckResult]:
    """Yield one result: the release of Airflow."""
    from packaging.version import Version

    from cosmos_venv.compat import AIRFLOW_VERSION
    from cosmos_venv.version import __version__

    text = f"Airflow {AIRFLOW_VERSION}, cosmos-venv {__version__}{_other_implementation()}."
    if Version(AIRFLOW_VERSION).release[:2] < _OLDEST:
        yield CheckResult(
            check="airflow", subject="Airflow", outcome="failed", text=text, way_out="Use Airflow 2.10, 2.11 or 3."
        )
    else:
        yield CheckResult(check="airflow", subject="Airflow", outcome="ok", text=text)


def settings_are_known_and_possible(_: Examined) -> Iterator[CheckResult]:
    """Yield a result for each option that nobody reads, or whose value is refused; one result where there is none."""
    found = [*_unknown_options(), *_refused_values()]
    yield from found
    if not found:
        yield CheckResult(
            check="settings",
            subject="[cosmos_venv]",
            outcome="ok",
            text="Every option that is set is known, and its value possible.",
        )


def _other_implementation() -> str:
    try:
        return f", beside astronomer-cosmos {version('astronomer-cosmos')}"
    except PackageNotFoundError:
        return ""


def _unknown_options() -> Iterator[CheckResult]:
    from cosmos_venv.compat import configured_options

    known = {*SETTINGS, *(each.older_name for each in SETTINGS.values() if each.older_name)}
    for section in (settings.SECTION, settings.COSMOS_SECTION):
        for name in sorted(set(configured_options(section)) - known):
            near = difflib.get_close_matches(name, known, n=1)
            yield CheckResult(
                check="settings",
                subject=f"[{section}] {name}",
                outcome="warning",
                text="cosmos-venv has no such option, so what is set there does nothing.",
                way_out=f"Did you mean {near[0]}?" if near else "Remove it, unless something else reads it.",
            )


def _refused_values() -> Iterator[CheckResult]:
    from cosmos_venv.environments.store import PARAMETER, stores_of
    from cosmos_venv.managed import from_settings

    def search_path() -> object:
        return stores_of(settings.virtualenv_search_path)

    looks: dict[str, Callable[[], object]] = {name: partial(getattr, settings, name) for name in SETTINGS}
    whole = {
        PARAMETER: search_path,
        "virtualenv_dir_mode": from_settings.directory_mode,
        "virtualenv_prune_…": from_settings.prune_limits,
    }
    refused: set[str] = set()
    for name, look in (*looks.items(), *whole.items()):
        try:
            look()
        except CosmosValueError as error:
            if str(error) not in refused:
                refused.add(str(error))
                yield CheckResult(
                    check="settings",
                    subject=f"[{settings.SECTION}] {name}",
                    outcome="failed",
                    text=str(error),
                    way_out="Correct it, or remove it for the default.",
                )


_CHECK = "discovery"
_WORDS = ("airflow", "dag")
_PACKAGES = {__name__.partition(".")[0], "cosmos"}
FIND_IT = "Write a comment such as `# an airflow dag`, or set [core] dag_discovery_safe_mode = False."
"""The way out for such a file."""
_MAKERS = {"DbtDag", "DbtTaskGroup", "*"}


def airflow_finds_the_file(examined: Examined) -> Iterator[CheckResult]:
    """Yield a result for each file: failed where it makes a dbt DAG and lacks a word that Airflow looks for, or cannot
    be read.

    :param examined: its files are looked at.
    """
    from cosmos_venv.compat import looks_for_words

    looks = looks_for_words()
    for path in examined.files:
        if not looks:
            yield _result(path, "Airflow looks into every file.")
            continue
        try:
            content = path.read_bytes()
            makes_dags = _makes_dags(content)
        except (OSError, SyntaxError, ValueError) as error:
            yield _result(path, f"cannot be read as Python: {error}.", "Correct it.")
            continue
        passed_over = why_passed_over(content)
        if makes_dags and passed_over:
            yield _result(path, passed_over, FIND_IT)
        else:
            yield _result(path, f"It makes no dbt DAG. {passed_over}" if passed_over else "Airflow looks into it.")


def why_passed_over(content: bytes) -> str:
    """Return a sentence that says why Airflow's safe mode passes a DAG file over; empty where it does not.

    :param content: of the file.
    """
    missing = [repr(word) for word in _WORDS if word.encode() not in content.lower()]
    if not missing:
        return ""
    verb = "does" if len(missing) == 1 else "do"
    return f"Airflow passes the file over, because {' and '.join(missing)} {verb} not occur in it."


def _result(path: Path, text: str, way_out: str = "") -> CheckResult:
    outcome: Outcome = "failed" if way_out else "ok"
    return CheckResult(check=_CHECK, subject=str(path), outcome=outcome, text=text, way_out=way_out)


def _makes_dags(content: bytes) -> bool:
    """Whether a class that makes DAGs or parts of them is taken from here, or from Cosmos by a DAG that is to move."""
    nodes = list(ast.walk(ast.parse(content)))
    is_imported = any(
        isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in _PACKAGES for alias in node.names)
        for node in nodes
    )
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            is_named = (node.module or "").partition(".")[0] in _PACKAGES
            if is_named and _MAKERS & {alias.name for alias in node.names}:
                return True
        elif is_imported and isinstance(node, ast.Attribute) and node.attr in _MAKERS:
            return True
    return False
