"""Folders with dbt docs: small ones for quick tests, and those of a real dbt."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.installed import copy_of_example, environment_of

INDEX = '<html><script>n={manifest:"MANIFEST.JSON INLINE DATA",catalog:"CATALOG.JSON INLINE DATA"}</script></html>'
MANIFEST = {"nodes": {"model.shop.orders": {"description": "a </script><!-- in a text"}}}
CATALOG: dict[str, dict[str, str]] = {"nodes": {}, "sources": {}}


@pytest.fixture
def docs_folder(tmp_path: Path) -> Path:
    """Three files as dbt docs generate writes them, but small."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "index.html").write_text(INDEX)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "catalog.json").write_text(json.dumps(CATALOG))
    return folder


def generate_docs(folder: Path, release: str = "dbt111") -> Path:
    """Return the target folder of the example project after dbt build and dbt docs generate."""
    dbt = environment_of(release) / "bin" / "dbt"
    project = copy_of_example(folder / "harbor")
    output = {"type": "duckdb", "path": str(folder / "harbor.duckdb")}
    (project / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": output}}}))
    for words in (["build"], ["docs", "generate"]):
        subprocess.run(
            [dbt, *words, "--profiles-dir", project, "--project-dir", project],
            cwd=project,
            env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            check=words != ["build"],
            stdout=subprocess.DEVNULL,
        )
    return project / "target"
