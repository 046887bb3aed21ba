"""Stray settings of a worker divert no installation: only what somebody has configured for the installer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit import MakeReady, MakeSpec


@pytest.mark.parametrize("file", ["uv.toml", "pyproject.toml"])
def test_uv_obeys_no_project_that_the_worker_happens_to_run_in(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    section = "" if file == "uv.toml" else '[project]\nname = "dags"\nversion = "1"\n[tool.uv]\n'
    (tmp_path / "dags" / "below").mkdir(parents=True)
    (tmp_path / "dags" / file).write_text(f'{section}override-dependencies = ["hello==1.0"]\n')
    (tmp_path / "dags" / "below" / "wanted.txt").write_text("hello==2.0\n")
    monkeypatch.chdir(tmp_path / "dags" / "below")

    environment = make_ready(tmp_path / "store", make_spec("-r wanted.txt"))

    assert environment.record.pins == {"hello": "2.0"}


@pytest.mark.parametrize("setting", ["target", "prefix", "root", "user = true\ndry-run"])
def test_pip_installs_into_the_environment_whatever_its_files_say(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    (tmp_path / "pip.conf").write_text(f"[install]\n{setting} = {tmp_path if '=' not in setting else 'true'}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))

    environment = make_ready(tmp_path / "store", make_spec("hello==2.0"), preference="pip")

    assert environment.record.pins == {"hello": "2.0"}
