"""The fake's project and ways to start it; an installation into a folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosDbt, CosmosProject, FakeVenv
from tests.pytest_cosmos_venv.environments.installing import Install


@pytest.fixture
def project(cosmos_project: CosmosProject) -> Path:
    shop = cosmos_project("shop")
    shop.model("orders", "select 1 as id")
    # The fake reads no YAML, where the builder would write the tags.
    shop.model("staging/totals", "{{ config(tags=['daily']) }} select * from {{ ref('orders') }}")
    shop.model("report", "select * from {{ ref('totals') }}")
    shop.seed("piers", "id\n1\n")
    return shop.path


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv, project: Path) -> Any:
    """Runs the fake dbt on the project, in an environment of ``env`` alone."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        settings = {"cwd": project, "env": {}, "capture_output": True, "text": True, "check": False, **options}
        return subprocess.run([str(cosmos_fake_venv.dbt), *arguments], **settings)  # noqa: PLW1510 - in settings

    return run


@pytest.fixture
def start(cosmos_fake_venv: FakeVenv, project: Path) -> Any:
    def popen(*arguments: str) -> subprocess.Popen[str]:
        command = [str(cosmos_fake_venv.dbt), *arguments]
        return subprocess.Popen(command, cwd=project, env={}, stdout=subprocess.DEVNULL, text=True)

    return popen


@pytest.fixture(params=["pip", "uv"])
def install(request: pytest.FixtureRequest, cosmos_dbt: CosmosDbt, tmp_path: Path) -> Iterator[Install]:
    """Installs into a folder with ``pip`` or ``uv``; an environment would only take time."""
    made = Install(installer=request.param, wheelhouse=cosmos_dbt, target=tmp_path / "installed")
    yield made
    made.end()
