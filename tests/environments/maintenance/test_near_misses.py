"""Environments of a search path that would serve if their Python were here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.maintenance.near_misses import near_misses
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import find_first, stores_of
from tests.kit import MakeReady, MakeSpec


def with_python(spec: EnvironmentSpec, **changes: str) -> EnvironmentSpec:
    return replace(spec, interpreter=replace(spec.interpreter, **changes))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        pytest.param(
            lambda spec: with_python(spec, executable="/usr/local/bin/python"), "/usr/local/bin/python", id="path"
        ),
        pytest.param(lambda spec: with_python(spec, version="3.9.1"), "the task has cpython 3.9.1 at", id="version"),
        # Only the canonical form is the same.
        pytest.param(
            lambda spec: replace(with_python(spec, executable="/elsewhere"), requirements=("Hello",)),
            "at /elsewhere.",
            id="another-spelling",
        ),
        pytest.param(lambda spec: spec, "", id="found"),
        pytest.param(
            lambda spec: replace(with_python(spec, executable="/elsewhere"), requirements=("hello==1.0",)),
            "",
            id="another-environment",
        ),
    ],
)
def test_the_same_environment_with_another_python_is_named(
    tmp_path: Path,
    make_ready: MakeReady,
    make_spec: MakeSpec,
    wanted: Callable[[EnvironmentSpec], EnvironmentSpec],
    words: str,
) -> None:
    make_ready(tmp_path / "store", make_spec())
    stores = stores_of(f"{tmp_path / 'missing'}:{tmp_path / 'store'}")

    lines = list(near_misses(stores, wanted(make_spec())))

    assert len(lines) == bool(words)
    for line in lines:
        built = Interpreter.of()
        assert line.startswith(f"{tmp_path}/store holds it, made of cpython {built.version} at {built.executable}, and")
        assert words in line
        assert "Use an image that has that Python at that path" in line


def test_an_environment_whose_python_is_gone_is_named(
    tmp_path: Path, make_ready: MakeReady, make_spec: MakeSpec
) -> None:
    environment: Environment = make_ready(tmp_path / "store", make_spec())
    shutil.rmtree(environment.path / "bin")
    (environment.path / "bin").mkdir()
    (environment.path / "bin" / "python").symlink_to("/missing/python")
    stores = stores_of(str(tmp_path / "store"))

    (line,) = near_misses(stores, make_spec())

    assert find_first(stores, make_spec()) is None
    assert line.startswith(
        f"{tmp_path}/store holds it, made of a Python that is not here: {Interpreter.of().executable}."
    )
