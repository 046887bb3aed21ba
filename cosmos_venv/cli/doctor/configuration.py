"""Which Airflow is this, and is everything that was configured for us known and possible?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from cosmos_venv import settings
from cosmos_venv.cli.doctor.finding import Examined, Finding
from cosmos_venv.exceptions import CosmosValueError

_OLDEST = (2, 10)


def airflow_is_supported(_: Examined) -> Iterator[Finding]:
    """One finding: the version."""
    from packaging.version import Version

    from cosmos_venv.compat import AIRFLOW_VERSION
    from cosmos_venv.release import __version__

    text = f"Airflow {AIRFLOW_VERSION}, cosmos-venv {__version__}{_other_implementation()}."
    if Version(AIRFLOW_VERSION).release[:2] < _OLDEST:
        yield Finding(
            check="airflow", subject="Airflow", outcome="failed", text=text, way_out="Use Airflow 2.10, 2.11 or 3."
        )
    else:
        yield Finding(check="airflow", subject="Airflow", outcome="ok", text=text)


def settings_are_known_and_possible(_: Examined) -> Iterator[Finding]:
    """A finding for each option that nobody reads, or whose value is refused; one where there is none."""
    found = [*_unknown_options(), *_refused_values()]
    yield from found
    if not found:
        yield Finding(
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


def _unknown_options() -> Iterator[Finding]:
    from cosmos_venv.compat import configured_options

    known = {*settings.SETTINGS, *(each.older_name for each in settings.SETTINGS.values() if each.older_name)}
    for section in (settings.SECTION, settings.COSMOS_SECTION):
        for name in sorted(set(configured_options(section)) - known):
            near = difflib.get_close_matches(name, known, n=1)
            yield Finding(
                check="settings",
                subject=f"[{section}] {name}",
                outcome="warning",
                text="cosmos-venv has no such option, so what is set there does nothing.",
                way_out=f"Did you mean {near[0]}?" if near else "Remove it, unless something else reads it.",
            )


def _refused_values() -> Iterator[Finding]:
    from cosmos_venv import managed
    from cosmos_venv.environments.search_path import PARAMETER, stores_of

    def search_path() -> object:
        return stores_of(settings.virtualenv_search_path)

    looks: dict[str, Callable[[], object]] = {name: partial(getattr, settings, name) for name in settings.SETTINGS}
    whole = {
        PARAMETER: search_path,
        "virtualenv_dir_mode": managed.directory_mode,
        "virtualenv_prune_…": managed.prune_limits,
    }
    refused: set[str] = set()
    for name, look in (*looks.items(), *whole.items()):
        try:
            look()
        except CosmosValueError as error:
            if str(error) not in refused:
                refused.add(str(error))
                yield Finding(
                    check="settings",
                    subject=f"[{settings.SECTION}] {name}",
                    outcome="failed",
                    text=str(error),
                    way_out="Correct it, or remove it for the default.",
                )
