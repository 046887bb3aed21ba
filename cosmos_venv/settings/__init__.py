"""Settings in Airflow's configuration: ``[cosmos_venv]`` first, then ``[cosmos]`` for names that Cosmos has.

``settings.virtualenv_max_retries_lock`` reads ``AIRFLOW__COSMOS_VENV__VIRTUALENV_MAX_RETRIES_LOCK`` or the same key in
``airflow.cfg``, each time it is looked at. Importing this module does not import Airflow. Airflow's list of providers
and its configuration reference get them by ``get_provider_info``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.settings.table import SETTINGS, Setting
from cosmos_venv.version import __version__

if TYPE_CHECKING:  # names and types of the values that __getattr__ gives
    from cosmos_venv.settings.table import *  # noqa: F403

SECTION, COSMOS_SECTION = "cosmos_venv", "cosmos"
_WEB_PAGE = re.compile(r"(https?:/)?/[^\s<>]+")
_TYPES = {bool: "boolean", int: "integer", float: "float", str: "string"}


_handed_down: Mapping[tuple[str, str], str | Exception] | None = None


def __getattr__(name: str) -> Any:
    setting = SETTINGS.get(name)
    if setting is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(SETTINGS))}")
    return _read(name, setting)


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow reads through the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "cosmos-venv",
        "name": "cosmos-venv",
        "description": "Runs dbt projects as Airflow DAGs, each with its own dbt in a managed virtual environment.",
        "versions": [__version__],
        "extra-links": ["cosmos_venv.operators.docs_link.DbtDocsLink"],
        "config": {
            SECTION: {
                "description": "Managed virtual environments for dbt.",
                "options": {name: _option(setting) for name, setting in SETTINGS.items()},
            }
        },
    }


def _option(setting: Setting) -> dict[str, Any]:
    # No default: Airflow would answer with it for [cosmos_venv], and a value under [cosmos] would never be looked at.
    return {
        "description": f"{setting.meaning} Default: {setting.default}." if setting.default != "" else setting.meaning,
        "version_added": __version__,
        "type": _TYPES[type(setting.default)],
        "example": str(setting.default),
        "default": None,
    }


def limit(name: str) -> Limit:
    """Return the limit on the bytes that are read of one file.

    :param name: of the setting, such as ``artifact_max_bytes``.
    """
    return Limit(most=int(__getattr__(name)), setting=name)


def docs_base() -> str:
    """Return the URL of the dbt docs to which tasks link: ``dbt_docs_url``; empty where there are none.

    :raises CosmosValueError: for a text that is no URL of a page.
    """
    base = str(__getattr__("dbt_docs_url"))
    if base and not _WEB_PAGE.fullmatch(base):
        raise CosmosValueError(
            f"[{SECTION}] dbt_docs_url = {base!r}: it must be a URL that begins with http:// or https://, or a path "
            "of Airflow's own server that begins with /."
        )
    return base


def configured() -> dict[tuple[str, str], str | Exception]:
    """Return the texts that are configured now, by section and key, for ``take_configured`` in another process.

    Airflow cannot read a text with a stray ``%``. The exception is raised where the other process reads that setting.
    """
    found: dict[tuple[str, str], str | Exception] = {}
    for name, setting in SETTINGS.items():
        for section, key in _places(name, setting):
            try:
                text = _text(section, key)
            except Exception as error:  # noqa: BLE001 - of a secrets backend, too
                found[section, key] = CosmosValueError(f"[{section}] {key}: {error}")
            else:
                if text is not None:
                    found[section, key] = text
    return found


def take_configured(texts: Mapping[tuple[str, str], str | Exception]) -> None:
    """Read settings from these texts from now on: a detached process does not import Airflow.

    :param texts: what ``configured`` has returned in the process that started this one.
    """
    global _handed_down  # noqa: PLW0603 - a process has one configuration
    _handed_down = texts


def _read(name: str, setting: Setting) -> bool | int | float | str:
    for section, key in _places(name, setting):
        text = _text(section, key)
        if text is not None:
            return _convert(section, key, text.strip(), setting)
    return setting.default


def _places(name: str, setting: Setting) -> Iterator[tuple[str, str]]:
    """The sections and keys that a setting is looked for in, in this order."""
    for section in (SECTION, COSMOS_SECTION) if setting.is_also_cosmos else (SECTION,):
        for key in filter(None, (name, setting.older_name)):
            yield section, key


def _text(section: str, key: str) -> str | None:
    if _handed_down is not None:
        known = _handed_down.get((section, key))
        if isinstance(known, Exception):
            raise known
        return known
    from airflow.configuration import conf

    text: str | None = conf.get(section, key, fallback=None)
    return text


def _convert(section: str, name: str, text: str, setting: Setting) -> bool | int | float | str:
    if isinstance(setting.default, bool):
        return _boolean(section, name, text)
    if isinstance(setting.default, int | float):
        return _number(section, name, text, setting)
    if setting.choices and text not in (setting.default, *setting.choices):
        raise CosmosValueError(f"[{section}] {name} = {text!r}: it can be {' or '.join(setting.choices)}.")
    return text


def _number(section: str, name: str, text: str, setting: Setting) -> int | float:
    kind = int if isinstance(setting.default, int) else float
    try:
        found = kind(text)
    except ValueError:
        number = "whole number" if kind is int else "number"
        raise CosmosValueError(f"[{section}] {name} = {text!r} is no {number}.") from None
    if setting.least is not None and found < setting.least:
        raise CosmosValueError(f"[{section}] {name} = {text!r}: it must be at least {setting.least}.")
    return found


def _boolean(section: str, name: str, text: str) -> bool:
    """The boolean in a text, read as Airflow reads it."""
    if text.lower() in ("t", "true", "1"):
        return True
    if text.lower() in ("f", "false", "0"):
        return False
    raise CosmosValueError(f"[{section}] {name} = {text!r}: it can be true or false.")
