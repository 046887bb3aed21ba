"""What must a Python environment be able to do before dbt tasks may use it?"""

from __future__ import annotations

# Run by the environment's own Python. Imports alone: `dbt --version` would ask the package index for news.
DBT_CHECK = """
import importlib, importlib.metadata, re, sys

names = {re.sub("[-_.]+", "-", found.metadata["Name"] or "").lower() for found in importlib.metadata.distributions()}
if "dbt-core" not in names:
    sys.exit("dbt-core is not installed: name dbt-core, or a dbt adapter that brings it, in py_requirements")
importlib.import_module("dbt.cli.main")
shared = {"dbt-core", "dbt-adapters", "dbt-common", "dbt-extractor", "dbt-protos", "dbt-semantic-interfaces"}
for name in sorted(names - shared):
    adapter = name[4:].replace("-", "_")
    if name.startswith("dbt-") and importlib.util.find_spec("dbt.adapters." + adapter):
        importlib.import_module("dbt.adapters." + adapter)
"""
