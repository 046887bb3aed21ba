"""Which managed environment does a dbt command run in? From operator arguments to a ready one.

The one place that wires environments (which know no dbt) with dbt (which knows no environments) and with the settings.
Operators, parsing and the command line all ask here, so they find one digest for the same arguments.
"""

from __future__ import annotations

from cosmos_venv.managed.arguments import VirtualenvArguments, is_template, kept_directory, without_worker_python
from cosmos_venv.managed.configured import cache_dir, directory_mode, prune_limits, upkeep
from cosmos_venv.managed.foreground import building_in_foreground
from cosmos_venv.managed.kept import (
    copies_packages,
    kept_fingerprints,
    kept_listings,
    kept_manifests,
    parsed_project,
    project_packages,
    remote_listings,
)
from cosmos_venv.managed.ready import environment_for_parsing, managed_environment, seconds_for_a_parse

__all__ = [
    "VirtualenvArguments",
    "building_in_foreground",
    "cache_dir",
    "copies_packages",
    "directory_mode",
    "environment_for_parsing",
    "is_template",
    "kept_directory",
    "kept_fingerprints",
    "kept_listings",
    "kept_manifests",
    "managed_environment",
    "parsed_project",
    "project_packages",
    "prune_limits",
    "remote_listings",
    "seconds_for_a_parse",
    "upkeep",
    "without_worker_python",
]
