"""All byte code of a new environment is there before anybody uses it, whatever installed it."""

from __future__ import annotations

from importlib.util import cache_from_source
from pathlib import Path

import pytest

from tests.kit import MakeReady, MakeSpec


def without_byte_code(*folders: Path) -> set[str]:
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    return {path.name for path in sources if not Path(cache_from_source(str(path))).exists()}


@pytest.mark.long
@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_an_environment_has_all_of_it(
    tmp_path: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    preference: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "0")
    monkeypatch.setenv("PIP_NO_COMPILE", "0")

    environment = make_ready(tmp_path / "kept", make_spec(), preference=preference)

    (folder,) = environment.path.glob("lib/*/site-packages")
    assert without_byte_code(folder) == set()
    assert [path for path in folder.rglob("*") if path.suffix == ".pyc"]
    assert not (tmp_path / "elsewhere").exists()
