"""A worker without pip builds with the pip that comes with Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.kit import MakeReady, MakeSpec, OutputOf


@pytest.mark.long
def test_pip_is_installed_into_the_environment_where_the_worker_has_none(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)

    environment = make_ready(tmp_path, make_spec("hello==2.0"), preference="pip")

    assert output_of(environment.script("hello")) == "hello 2.0"
    assert {"hello", "pip"} <= set(environment.record.pins)
