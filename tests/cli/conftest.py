"""Commands in the process of the test, a program of its own that is served warm, and environments of the commands."""

from __future__ import annotations

import subprocess
from typing import Protocol

import pytest

from cosmos_venv.cli import main
from tests.dbt.warm.conftest import short_folder, tool
from tests.environments.conftest import make_ready, make_spec, offline, output_of, set_age, start_python, wheelhouse
from tests.operators.conftest import dbt_calls, make_operator, misbehaving_wheelhouse
from tests.remote_settings import configure, key_file, remote

__all__ = [
    "configure",
    "dbt_calls",
    "key_file",
    "make_operator",
    "make_ready",
    "make_spec",
    "misbehaving_wheelhouse",
    "offline",
    "output_of",
    "remote",
    "set_age",
    "short_folder",
    "start_python",
    "tool",
    "wheelhouse",
]


class Run(Protocol):
    """Run ``cosmos-venv`` with these words in the process of the test."""

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        arguments = [str(each) for each in words]
        capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as ended:  # as argparse ends
            code = int(ended.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run
