"""What can be set in Airflow's configuration: ``[cosmos_venv]`` first, then ``[cosmos]`` for names that Cosmos has.

``settings.virtualenv_max_retries_lock`` reads ``AIRFLOW__COSMOS_VENV__VIRTUALENV_MAX_RETRIES_LOCK`` or the same key in
``airflow.cfg``, each time it is looked at. Importing this module does not import Airflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cosmos_venv.exceptions import CosmosValueError

SECTION, COSMOS_SECTION = "cosmos_venv", "cosmos"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One name that can be set."""

    default: bool | int | str
    meaning: str
    is_also_cosmos: bool = True
    choices: tuple[str, ...] = ()


SETTINGS: dict[str, Setting] = {
    "cache_dir": Setting(
        default="",
        meaning="Folder of what is kept between commands; a folder of this user below the temporary folder when empty.",
    ),
    "enable_cache": Setting(default=True, meaning="Whether anything is kept between commands."),
    "enable_cache_partial_parse": Setting(
        default=True, meaning="Whether dbt's partial_parse.msgpack is kept, so that the next command parses less."
    ),
    "packages_max_age": Setting(
        default=3600,
        meaning="Seconds for which installed dbt packages are used that no package-lock.yml pins; then dbt deps runs "
        "again. With 0 it runs for every task. Pinned ones are used for as long as they are asked for.",
        is_also_cosmos=False,
    ),
    "virtualenv_max_retries_lock": Setting(
        default=120,
        meaning="Seconds that a task waits for another process to release cosmos_virtualenv.lock. They do not count "
        "while that process's build makes visible progress.",
    ),
    "virtualenv_build": Setting(
        default="auto",
        meaning="never: a missing environment is an error that names the command which builds it.",
        is_also_cosmos=False,
        choices=("auto", "never"),
    ),
}

cache_dir: str
enable_cache: bool
enable_cache_partial_parse: bool
packages_max_age: int
virtualenv_max_retries_lock: int
virtualenv_build: str


def __getattr__(name: str) -> Any:
    setting = SETTINGS.get(name)
    if setting is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(SETTINGS))}")
    return _read(name, setting)


def _read(name: str, setting: Setting) -> bool | int | str:
    from airflow.configuration import conf

    for section in (SECTION, COSMOS_SECTION) if setting.is_also_cosmos else (SECTION,):
        text = conf.get(section, name, fallback=None)
        if text is not None:
            return _convert(section, name, text.strip(), setting)
    return setting.default


def _convert(section: str, name: str, text: str, setting: Setting) -> bool | int | str:
    if isinstance(setting.default, bool):
        return _boolean(section, name, text)
    if isinstance(setting.default, int):
        try:
            return int(text)
        except ValueError:
            raise CosmosValueError(f"[{section}] {name} = {text!r} is no whole number.") from None
    if setting.choices and text not in setting.choices:
        raise CosmosValueError(f"[{section}] {name} = {text!r}: it can be {' or '.join(setting.choices)}.")
    return text


def _boolean(section: str, name: str, text: str) -> bool:
    """As Airflow reads a boolean."""
    if text.lower() in ("t", "true", "1"):
        return True
    if text.lower() in ("f", "false", "0"):
        return False
    raise CosmosValueError(f"[{section}] {name} = {text!r}: it can be true or false.")
