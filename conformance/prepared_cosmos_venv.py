"""Parts of cosmos-venv that a process imports before tasks are forked from it: a third of the time that each would
take.

These names are private: another version may have others, and its tasks then import themselves what they need. A name
that is wrong is no error, only slow: ``tests/conformance/test_adapter.py`` tells.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

MODULES = (
    "config",
    "dag",
    "dbt.invocation",
    "environments.publisher",
    "environments.remote_store",
    "managed.project_cache",
    "managed.remote_environments",
    "managed.resolve",
    "operators.run.dbt_run",
    "operators.seeds.seed_load",
    "operators.virtualenv",
    "project.manifest",
    "rendering.converters",
    "rendering.project_rendering",
)
"""Names of modules below the import root."""

for _name in (*(f"cosmos_venv.{_each}" for _each in MODULES), "packaging.requirements"):
    with suppress(ImportError):
        import_module(_name)
