"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_cosmos_venv.projects.http_manifest import HttpManifest
    from pytest_cosmos_venv.projects.project import DbtProject
    from pytest_cosmos_venv.projects.projects import DbtProjects


@pytest.fixture
def _cosmos_dbt_project(tmp_path: Path) -> DbtProjects:
    """What ``cosmos_dbt_project`` gives."""
    from pytest_cosmos_venv.projects.projects import DbtProjects

    return DbtProjects(folder=tmp_path)


@pytest.fixture
def cosmos_dbt_project(_cosmos_dbt_project: DbtProjects) -> DbtProjects:
    r"""Makes dbt projects on disk from a few lines: ``project = cosmos_dbt_project("harbor")``.

    Then ``project.seed("piers", "id,name\n1,North\n")``,
    ``project.model("staging", "select * from {{ ref('piers') }}", tags=["daily"], tests={"id": ["unique"]})``, ...
    ``.path`` is its folder, ``.profiles_yml`` its profile; ``.manifest()`` writes the manifest that dbt would write,
    without dbt. ``cosmos_dbt_project.large(models=5000)`` makes a large one.
    """
    return _cosmos_dbt_project


@pytest.fixture
def cosmos_http_manifest() -> Iterator[Callable[[DbtProject | Mapping[str, Any]], HttpManifest]]:
    """Hands out a manifest over HTTP on loopback: ``manifest = cosmos_http_manifest(project)``, or of any mapping.

    ``.url`` is where it lies, with an ETag. ``.answer(500).answer(200)`` says what the requests get, also
    ``.answer(200, after=5)`` and ``.answer(200, truncated=True)``; ``.requests`` what was asked.
    ``with manifest.responses("https://artifacts.example/manifest.json"):`` does the same without a server, for code
    that uses ``requests``.
    """
    from pytest_cosmos_venv.projects.http_manifest import serve_manifest

    with ExitStack() as stack:

        def serve(manifest: DbtProject | Mapping[str, Any]) -> HttpManifest:
            served = serve_manifest(manifest)
            stack.callback(served.close)
            return served

        yield serve
