"""The fake's project and ways to start it; an installation into a folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv, Wheelhouse
from tests.pytest_cosmos_venv.environments.installing import Install


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    for name, text in {
        "dbt_project.yml": "name: shop\n",
        "models/orders.sql": "select 1 as id\n",
        "models/staging/totals.sql": "{{ config(tags=['daily']) }} select * from {{ ref('orders') }}\n",
        "models/report.sql": "select * from {{ ref('totals') }}\n",
        "seeds/piers.csv": "id\n1\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


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
def install(request: pytest.FixtureRequest, cosmos_wheelhouse: Wheelhouse, tmp_path: Path) -> Iterator[Install]:
    """Installs into a folder with ``pip`` or ``uv``; an environment would only take time."""
    made = Install(installer=request.param, wheelhouse=cosmos_wheelhouse, target=tmp_path / "installed")
    yield made
    for process in made.started:
        process.kill()
        process.communicate()
