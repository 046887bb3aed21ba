"""What of cosmos-venv has a process imported from which its tasks are forked? A third of the time that each would take.

These names are private: another version may have others, and its tasks then import themselves what they need.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

MODULES = (
    *("config", "dag", "project.load", "project.manifest", "rendering.plan", "rendering.assembly", "rendered"),
    *("rendering.converters", "environments.publisher", "environments.temporary", "managed.ready"),
    *("managed.kept", "dbt.check", "dbt.runner", "operators.lineage", "operators.seeds"),
)
"""Below the import root."""

for _name in (*(f"cosmos_venv.{_each}" for _each in MODULES), "packaging.requirements"):
    with suppress(ImportError):
        import_module(_name)
