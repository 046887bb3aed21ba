"""Environments that ``cosmos-venv env`` puts into a remote store, and fetches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.environments.store import Environment
from tests.cli.env.calls import Cli, Fetch, Printed
from tests.kit import MakeReady, MakeSpec


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Calls of ``cosmos-venv env``."""

    def call(*arguments: object) -> Printed:
        capfd.readouterr()
        code = main(["env", *map(str, arguments), "--json"])
        printed = capfd.readouterr()
        return code, {**json.loads(printed.out), "stderr": printed.err}

    return call


@pytest.fixture
def hello(tmp_path: Path, make_ready: MakeReady, make_spec: MakeSpec) -> Environment:
    """The one environment of the directory ``store``."""
    return make_ready(tmp_path / "store", make_spec())


@pytest.fixture
def fetch(cli: Cli, tmp_path: Path, offline: tuple[str, ...]) -> Fetch:
    """Calls of ``cosmos-venv env fetch`` for ``hello``."""

    def fetch(directory: str) -> Printed:
        options = [f"--pip-option={option}" for option in offline]
        return cli("fetch", "--requirement", "hello", *options, "--dir", tmp_path / directory)

    return fetch
