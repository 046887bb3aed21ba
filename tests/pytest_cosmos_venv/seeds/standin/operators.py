"""Tasks that run dbt."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetAlias, BaseOperator

try:
    from airflow.sdk.exceptions import AirflowSkipException
except ImportError:  # Airflow 3.0
    from airflow.exceptions import AirflowSkipException  # type: ignore[no-redef, unused-ignore]

from tests.pytest_cosmos_venv.seeds.standin.faults import has
from tests.pytest_cosmos_venv.seeds.standin.memory import Memory, checksum_of, is_unchanged

UV = (sys.executable, "-m", "uv")


def installed_dbt(environment: Path, requirements: Sequence[str], options: Sequence[str]) -> Path:
    """The dbt of a virtual environment, which is made when it is not there."""
    dbt = environment / "bin" / "dbt"
    if not dbt.exists():
        subprocess.run([*UV, "venv", "--quiet", str(environment)], check=True)
        python = str(environment / "bin" / "python")
        subprocess.run([*UV, "pip", "install", "--quiet", "--python", python, *options, *requirements], check=True)
    return dbt


@dataclass(frozen=True)
class Target:
    """The dbt that is run, and the project that it is run on."""

    dbt: Callable[[], Path]
    project: Path
    profiles_dir: Path
    select: str

    def run(self, command: str, *flags: str) -> None:
        """Run dbt, and fail with it."""
        words = [str(self.dbt()), command, "--select", self.select, "--project-dir", str(self.project)]
        subprocess.run([*words, "--profiles-dir", str(self.profiles_dir), *flags], env=dict(os.environ), check=True)


class DbtOperator(BaseOperator):
    """Any command of dbt."""

    def __init__(self, *, command: str, target: Target, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.command, self.target = command, target

    def execute(self, context: Any) -> None:
        del context
        if has("tests after a skip are left out") and self.command == "test":
            raise AirflowSkipException
        self.target.run(self.command)


class DbtSeedOperator(BaseOperator):
    """``dbt seed``, each time or when the file has changed."""

    def __init__(
        self,
        *,
        target: Target,
        file: Path,
        memory: Memory | None,
        in_manifest: str | None,
        full_refresh: bool,
        **arguments: Any,
    ) -> None:
        self._alias = AssetAlias(f"{arguments['task_id']}-alias")
        super().__init__(outlets=[self._alias], **arguments)
        self.target, self.file, self.memory, self.in_manifest = target, file, memory, in_manifest
        self.full_refresh = full_refresh
        self.parsed = checksum_of(file, in_manifest) if has("it is computed while parsing") else None

    def execute(self, context: Any) -> None:
        if self.memory is None or (self.full_refresh and not has("full_refresh is asked for changes")):
            self._load(context)
            if self.full_refresh and self.memory is not None and has("full_refresh is remembered"):
                self.memory.write(checksum_of(self.file, self.in_manifest) or "")
            return
        now = self._checksum()
        if is_unchanged(self.memory.read(), now):
            self._leave(context)
            return
        try:
            self._load(context)
        except subprocess.CalledProcessError:
            if has("failures are remembered") and now is not None:
                self.memory.write(now)
            raise
        if has("it is computed after dbt"):
            now = self._checksum()
        if now is not None:
            self.memory.write(now)

    def _checksum(self) -> str | None:
        return self.parsed if has("it is computed while parsing") else checksum_of(self.file, self.in_manifest)

    def _load(self, context: Any) -> None:
        flags = ["--full-refresh"] if self.full_refresh and not has("the flag is lost") else []
        self.target.run("seed", *flags)
        if not has("a load updates no asset"):
            self._update_asset(context)

    def _leave(self, context: Any) -> None:
        if has("a skip is Airflow's skip"):
            raise AirflowSkipException
        if has("a skip updates the asset"):
            self._update_asset(context)

    def _update_asset(self, context: Any) -> None:
        context["outlet_events"][self._alias].add(Asset(f"x-standin://{self.target.select}"))
