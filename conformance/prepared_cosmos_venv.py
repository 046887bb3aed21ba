"""What of cosmos-venv has a process imported from which its tasks are forked? A third of the time that each would take.

These names are private: another version may have others, and its tasks then import themselves what they need.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

MODULES = (
    "config",
    "dag",
    "dbt.invocation",
    "environments.publisher",
    "managed.project_cache",
    "managed.resolve",
    "operators.run.dbt_run",
    "operators.seeds.seed_load",
    "operators.virtualenv",
    "project.manifest",
    "rendering.converters",
    "rendering.project_rendering",
)
"""Below the import root."""

for _name in (*(f"cosmos_venv.{_each}" for _each in MODULES), "packaging.requirements"):
    with suppress(ImportError):
        import_module(_name)
