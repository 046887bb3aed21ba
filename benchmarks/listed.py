"""The project that is listed by a real dbt which notes when it is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.large_projects import with_two_tests
from cosmos_venv.config import ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import InvocationMode, LoadMode
from cosmos_venv.project.graph import DbtGraph

DBT = ROOT / ".cache" / "envs" / "dbt111" / "bin" / "dbt"


class Listed:
    """A project on the disk, and a real dbt that notes when it is started."""

    def __init__(self, folder: Path, models: int) -> None:
        folder.mkdir()
        self.project = with_two_tests(folder, models, has_files=True)
        shutil.rmtree(self.project.manifest.parent)
        self._calls = folder / "calls"
        self._dbt = folder / "dbt"
        self._dbt.write_text(f'#!/bin/sh\necho "$1" >> "{self._calls}"\nexec "{DBT}" "$@"\n', encoding="utf-8")
        self._dbt.chmod(0o755)
        # A file may change again within one tick of the clock. Files that look some minutes old count as settled.
        for path in self.project.folder.rglob("*"):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 600))

    @property
    def calls(self) -> list[str]:
        """The dbt commands that were run since the last call of ``forget``."""
        return self._calls.read_text().split() if self._calls.exists() else []

    def forget(self) -> None:
        """Forget the commands so far."""
        self._calls.unlink(missing_ok=True)

    def load(self) -> DbtGraph:
        graph = self.graph()
        graph.load()
        return graph

    def graph(self) -> DbtGraph:
        """A graph that is not loaded yet."""
        return DbtGraph(
            project=ProjectConfig(self.project.folder),
            render_config=RenderConfig(
                load_method=LoadMode.DBT_LS,
                dbt_executable_path=self._dbt,
                invocation_mode=InvocationMode.SUBPROCESS,
            ),
            profile_config=ProfileConfig(
                self.project.name, "dev", profiles_yml_filepath=self.project.folder / "profiles.yml"
            ),
        )
