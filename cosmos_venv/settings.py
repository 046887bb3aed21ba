"""Settings in Airflow's configuration: ``[cosmos_venv]`` first, then ``[cosmos]`` for names that Cosmos has.

``settings.virtualenv_max_retries_lock`` reads ``AIRFLOW__COSMOS_VENV__VIRTUALENV_MAX_RETRIES_LOCK`` or the same key in
``airflow.cfg``, each time it is looked at. Importing this module does not import Airflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.read_limits import CONFIGURATION_FILE, MEBIBYTE, Limit

SECTION, COSMOS_SECTION = "cosmos_venv", "cosmos"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One name that can be set in Airflow's configuration."""

    default: bool | int | float | str
    meaning: str
    is_also_cosmos: bool = True
    choices: tuple[str, ...] = ()
    least: int | None = None
    older_name: str = ""


SETTINGS: dict[str, Setting] = {
    "cache_dir": Setting(
        default="",
        meaning="Folder of what is kept between commands; a folder of this user below the temporary folder when empty.",
    ),
    "enable_cache": Setting(default=True, meaning="Whether anything is kept between commands."),
    "enable_cache_dbt_ls": Setting(
        default=True, meaning="Whether the answer of dbt ls is kept, so that a project that is unchanged needs no dbt."
    ),
    "remote_cache_dir": Setting(
        default="",
        meaning="Where answers of dbt ls are kept also, for other machines: a path or URL such as s3://bucket/cosmos.",
    ),
    "remote_cache_dir_conn_id": Setting(
        default="", meaning="The Airflow connection for remote_cache_dir; the default of its storage when empty."
    ),
    "enable_cache_partial_parse": Setting(
        default=True, meaning="Whether dbt's partial_parse.msgpack is kept, so that the next command parses less."
    ),
    "artifact_max_bytes": Setting(
        default=1024 * MEBIBYTE,
        meaning="Bytes that a manifest, another artifact of dbt or a file of what dbt ls has said may have, wherever "
        "it lies, on the wire and unpacked; 0: any number.",
        is_also_cosmos=False,
        least=0,
    ),
    "project_file_max_bytes": Setting(
        default=CONFIGURATION_FILE.most,
        meaning="Bytes that one file of a project may have that is read without dbt (LoadMode.CUSTOM); 0: any number.",
        is_also_cosmos=False,
        least=0,
    ),
    "build_only_running_task": Setting(
        default=True,
        meaning="Whether a worker of Airflow 3, which parses a DAG file for the one task that it runs, makes that task "
        "alone of a dbt project that was planned before.",
        is_also_cosmos=False,
    ),
    "enable_dataset_alias": Setting(
        default=True,
        meaning="Whether the assets of dbt nodes are given by an alias of their task. Airflow 3 has no other way.",
    ),
    "enable_dataset_airflow3_uri": Setting(
        default=False,
        meaning="Whether the URIs of datasets have slashes on Airflow 2 too, as they have on Airflow 3.",
        older_name="use_dataset_airflow3_uri_standard",
    ),
    "enable_hierarchical_naming_for_group_nodes_by_folder": Setting(
        default=False,
        meaning="Whether RenderConfig.group_nodes_by_folder knows a folder by its whole path. Else by its bare "
        "name: of two folders of one name the first one takes in what is in the other.",
    ),
    "pre_dbt_fusion": Setting(
        default=False, meaning="Whether tasks of single nodes name them by --models, as old dbt wants it, not --select."
    ),
    "enable_uri_xcom": Setting(
        default=False, meaning="Whether a task pushes the URIs of the assets that it gives as the XCom uri."
    ),
    "default_copy_dbt_packages": Setting(
        default=False,
        meaning="Whether a project's packages folder is copied for a command instead of linked, where nothing else is "
        "said and dbt deps does not run.",
    ),
    "remote_target_path": Setting(
        default="", meaning="Where compiled SQL is uploaded to, a path or URL such as s3://bucket/dbt."
    ),
    "remote_target_path_conn_id": Setting(
        default="", meaning="The Airflow connection for remote_target_path; the default of its storage when empty."
    ),
    "state_path": Setting(
        default="",
        meaning="Where the artifacts of each task's last success are kept that asks for them (state='last_success'), a "
        "path or URL that all workers see; below cache_dir, which is one worker's own, when empty.",
        is_also_cosmos=False,
    ),
    "state_path_conn_id": Setting(
        default="",
        meaning="The Airflow connection for state_path; the default of its storage when empty.",
        is_also_cosmos=False,
    ),
    "enable_debug_mode": Setting(
        default=False,
        meaning="Whether each dbt task tells the most memory that it took, as the XCom cosmos_debug_max_memory_mb.",
    ),
    "debug_memory_poll_interval_seconds": Setting(
        default=0.5, meaning="With enable_debug_mode: seconds between two looks at the memory."
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
    "virtualenv_prune_max_age_days": Setting(
        default=30,
        meaning="Days since its last use after which an environment is removed when another one is built; 0: never.",
        is_also_cosmos=False,
    ),
    "virtualenv_prune_max_count": Setting(
        default=10,
        meaning="Environments that a virtualenv_dir keeps; those used longest ago go first; 0: all.",
        is_also_cosmos=False,
    ),
    "virtualenv_prune_max_bytes": Setting(
        default=0, meaning="Bytes on disk that a virtualenv_dir keeps; 0: any number.", is_also_cosmos=False
    ),
    "virtualenv_prune_min_age": Setting(
        default=86_400,
        meaning="Seconds since its last use during which an environment is kept, whatever the other limits say.",
        is_also_cosmos=False,
    ),
    "virtualenv_keep_failed": Setting(
        default=False,
        meaning="Whether a build that failed is kept beside its log, the last one of each environment, until it is "
        "virtualenv_prune_max_age_days old.",
        is_also_cosmos=False,
    ),
    "virtualenv_search_path": Setting(
        default="",
        meaning="Directories that are looked at before virtualenv_dir, in their order, separated as in PATH. They are "
        "never written to, so they may be read-only, such as one that was filled when an image was built.",
        is_also_cosmos=False,
    ),
    "virtualenv_lock_timeout_action": Setting(
        default="fail",
        meaning="What a task does that may wait no longer for another process to build: fail, or private (go on in a "
        "temporary environment).",
        is_also_cosmos=False,
        choices=("fail", "private"),
    ),
    "virtualenv_dir_mode": Setting(
        default="",
        meaning="Permissions, in octal, of the directories that are made in and for virtualenv_dir, such as 0775. "
        "Empty: 0755, and the group may write where it may in the parent.",
        is_also_cosmos=False,
    ),
    "virtualenv_installer": Setting(
        default="",
        meaning="What installs: uv, pip, auto (uv where it installs what pip would), or airflow (Airflow's own "
        "prepare_virtualenv). Empty: what [standard] venv_install_method says.",
        is_also_cosmos=False,
        choices=("auto", "uv", "pip", "airflow"),
    ),
    "virtualenv_upgrade_interval": Setting(
        default=86400,
        meaning="Seconds after which an environment with --upgrade among its pip options is resolved anew.",
        is_also_cosmos=False,
    ),
    "local_warm_dbt": Setting(
        default="off",
        meaning="Whether the dbt of dbt_executable_path, in a virtual environment, is forked from a process that has "
        "imported it: auto, off or require, as virtualenv_warm_dbt.",
        is_also_cosmos=False,
        choices=("auto", "off", "require"),
    ),
    "virtualenv_warm_dbt": Setting(
        default="auto",
        meaning="Whether dbt of a kept environment is forked from a process that has imported it: auto (from the "
        "second task on; a plain process where that cannot be), off, or require (the task fails then).",
        is_also_cosmos=False,
        choices=("auto", "off", "require"),
    ),
    "virtualenv_warm_dbt_idle": Setting(
        default=600,
        meaning="Seconds after which such a process ends that no command has used.",
        is_also_cosmos=False,
        least=1,
    ),
    "virtualenv_warm_dbt_keeps_project": Setting(
        default=False,
        meaning="Whether such a process keeps what dbt has parsed of a project, for the next command that finds it "
        "unchanged.",
        is_also_cosmos=False,
    ),
    "virtualenv_warm_dbt_max": Setting(
        default=4,
        meaning="Such processes that one user has on one host at most: one for each environment.",
        is_also_cosmos=False,
        least=1,
    ),
}

artifact_max_bytes: int
project_file_max_bytes: int
cache_dir: str
enable_cache: bool
enable_cache_dbt_ls: bool
remote_cache_dir: str
remote_cache_dir_conn_id: str
enable_cache_partial_parse: bool
build_only_running_task: bool
enable_dataset_alias: bool
enable_dataset_airflow3_uri: bool
enable_uri_xcom: bool
enable_hierarchical_naming_for_group_nodes_by_folder: bool
pre_dbt_fusion: bool
default_copy_dbt_packages: bool
remote_target_path: str
remote_target_path_conn_id: str
enable_debug_mode: bool
debug_memory_poll_interval_seconds: float
state_path: str
state_path_conn_id: str
packages_max_age: int
virtualenv_max_retries_lock: int
virtualenv_build: str
virtualenv_prune_max_age_days: int
virtualenv_prune_max_count: int
virtualenv_prune_max_bytes: int
virtualenv_prune_min_age: int
virtualenv_keep_failed: bool
virtualenv_search_path: str
virtualenv_lock_timeout_action: str
virtualenv_dir_mode: str
virtualenv_installer: str
virtualenv_upgrade_interval: int
local_warm_dbt: str
virtualenv_warm_dbt: str
virtualenv_warm_dbt_idle: int
virtualenv_warm_dbt_keeps_project: bool
virtualenv_warm_dbt_max: int


def __getattr__(name: str) -> Any:
    setting = SETTINGS.get(name)
    if setting is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(SETTINGS))}")
    return _read(name, setting)


def limit(name: str) -> Limit:
    """Return how many bytes are read of a file of others.

    :param name: of the setting, such as ``artifact_max_bytes``.
    """
    return Limit(most=int(__getattr__(name)), setting=name)


def _read(name: str, setting: Setting) -> bool | int | float | str:
    from airflow.configuration import conf

    for section in (SECTION, COSMOS_SECTION) if setting.is_also_cosmos else (SECTION,):
        for key in filter(None, (name, setting.older_name)):
            text = conf.get(section, key, fallback=None)
            if text is not None:
                return _convert(section, key, text.strip(), setting)
    return setting.default


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
    """As Airflow reads a boolean."""
    if text.lower() in ("t", "true", "1"):
        return True
    if text.lower() in ("f", "false", "0"):
        return False
    raise CosmosValueError(f"[{section}] {name} = {text!r}: it can be true or false.")
