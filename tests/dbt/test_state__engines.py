"""The artifacts of an earlier run, as dbt reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cosmos_venv.dbt.state import write_empty
from tests.installed import environment_of


@pytest.mark.long
@pytest.mark.parametrize("release", ["dbt110", "dbt111", "dbt2"])
def test_to_each_dbt_everything_is_new_after_a_run_of_nothing(release: str, tmp_path: Path) -> None:
    dbt = environment_of(release) / "bin" / "dbt"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "orders.sql").write_text("select 1 as id")
    (tmp_path / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    output = {"type": "duckdb", "path": str(tmp_path / "harbor.duckdb")}
    (tmp_path / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": output}}}))

    write_empty(tmp_path / "state")

    def selected(selector: str) -> list[str]:
        words = ["--quiet", "ls", "--select", selector, "--state", str(tmp_path / "state"), "--profiles-dir", "."]
        done = subprocess.run([dbt, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        return [line for line in done.stdout.splitlines() if line.startswith("harbor.")]

    assert selected("state:modified") == ["harbor.orders"]
    assert selected("result:error") == []
