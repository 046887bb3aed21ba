"""Which managed environment does a dbt command run in? From operator arguments to a ready one.

The one place that wires environments (which know no dbt) with dbt (which knows no environments) and with the settings.
Operators, parsing and the command line all ask here, so they find one digest for the same arguments.

The names below are imported when they are first used: while a DAG is parsed most of them are not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosmos_venv.managed.arguments import VirtualenvArguments, is_template, kept_directory, without_worker_python
    from cosmos_venv.managed.cache import (
        cache_dir,
        kept_fingerprints,
        kept_listings,
        kept_manifests,
        kept_plans,
        remote_listings,
    )
    from cosmos_venv.managed.configured import directory_mode, prune_limits, upkeep
    from cosmos_venv.managed.foreground import building_in_foreground
    from cosmos_venv.managed.kept import copies_packages, parsed_project, project_packages
    from cosmos_venv.managed.ready import (
        advice_about,
        damage_of,
        environment_for_parsing,
        managed_environment,
        seconds_for_a_parse,
        why_not_started,
    )
    from cosmos_venv.managed.warm import Served, refuse_wrong_warm_choices, warm_choice, warm_start

_NAMES = {
    "arguments": ("VirtualenvArguments", "is_template", "kept_directory", "without_worker_python"),
    "cache": (*("cache_dir", "kept_fingerprints", "kept_listings", "kept_manifests", "kept_plans", "remote_listings"),),
    "configured": ("directory_mode", "prune_limits", "upkeep"),
    "foreground": ("building_in_foreground",),
    "kept": ("copies_packages", "parsed_project", "project_packages"),
    "ready": (
        *("advice_about", "damage_of", "environment_for_parsing", "managed_environment"),
        *("seconds_for_a_parse", "why_not_started"),
    ),
    "warm": ("Served", "refuse_wrong_warm_choices", "warm_choice", "warm_start"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Served",
    "VirtualenvArguments",
    "advice_about",
    "building_in_foreground",
    "cache_dir",
    "copies_packages",
    "damage_of",
    "directory_mode",
    "environment_for_parsing",
    "is_template",
    "kept_directory",
    "kept_fingerprints",
    "kept_listings",
    "kept_manifests",
    "kept_plans",
    "managed_environment",
    "parsed_project",
    "project_packages",
    "prune_limits",
    "refuse_wrong_warm_choices",
    "remote_listings",
    "seconds_for_a_parse",
    "upkeep",
    "warm_choice",
    "warm_start",
    "why_not_started",
    "without_worker_python",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
