"""What must a Python environment be able to do before dbt tasks may use it?"""

from __future__ import annotations

PARTS_OF_DBT = ("dbt-adapters", "dbt-common", "dbt-core", "dbt-extractor", "dbt-protos", "dbt-semantic-interfaces")
"""Distributions that every dbt has: whatever else is called ``dbt-…`` may be an adapter."""

# Run by the environment's own Python. Imports alone: `dbt --version` would ask the package index for news. The names
# are those of the folders: importlib.metadata would take as long as all the rest where dbt does not import it itself.
DBT_CHECK = f"""
import importlib, importlib.util, os, sys

names = set()
for folder in filter(os.path.isdir, sys.path):
    for entry in os.listdir(folder):
        stem, suffix = os.path.splitext(entry)
        if suffix in (".dist-info", ".egg-info"):
            names.add(stem.partition("-")[0].lower().replace("_", "-").replace(".", "-"))
if "dbt-core" not in names:
    sys.exit("dbt-core is not installed: name dbt-core, or a dbt adapter that brings it, in py_requirements")
importlib.import_module("dbt.cli.main")
for name in sorted(names.difference({PARTS_OF_DBT!r})):
    adapter = name[4:].replace("-", "_")
    if name.startswith("dbt-") and importlib.util.find_spec("dbt.adapters." + adapter):
        importlib.import_module("dbt.adapters." + adapter)
"""
