"""An environment for one task alone: there while it is used, gone on every way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.temporary import temporary_environment
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.guarded import Cancellation

Spec = Callable[..., EnvironmentSpec]
Preference = Literal["uv", "pip"]
OutputOf = Callable[..., str]


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_a_temporary_environment_is_gone_afterwards(
    tmp_path: Path, make_spec: Spec, preference: Preference, monkeypatch: pytest.MonkeyPatch, output_of: OutputOf
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines: list[str] = []

    with temporary_environment(
        make_spec(), preference=preference, cancellation=Cancellation(), report=lines.append
    ) as environment:
        said = output_of(environment.script("hello"))
        name = environment.path.name
        pins = environment.record["pins"]

    assert said == "hello 2.0"
    assert pins["hello"] == "2.0"
    assert name.startswith("cosmos-venv")
    assert list(tmp_path.glob("cosmos-venv*")) == []


def test_a_temporary_environment_is_gone_after_a_failure_too(
    tmp_path: Path, make_spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with (
        pytest.raises(VirtualenvBuildError, match="could not install"),
        temporary_environment(make_spec("hello==9"), preference="uv", cancellation=Cancellation(), report=print),
    ):
        pytest.fail("it cannot be there")

    assert list(tmp_path.glob("cosmos-venv*")) == []
