"""The same samples on Airflow 2.11, whose connections come from another place."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2

SOURCE = """
import json, os
from airflow.utils.log.secrets_masker import redact
from cosmos_venv.compat import AIRFLOW_VERSION
from cosmos_venv.profiles import get_automatic_profile_mapping
from tests.profiles.samples import SAMPLES, make, wanted

differing, count = [], 0
for sample in SAMPLES.values():
    if "constructor" in sample["expected"] or sample["class_name"].startswith("Athena"):
        continue
    extra = json.dumps(sample["connection"].get("extra") or {})
    os.environ["AIRFLOW_CONN_SAMPLE"] = json.dumps({**sample["connection"], "extra": extra})
    mapping = make(sample)
    for part, ask in {
        "can_claim": mapping.can_claim_connection,
        "profile": lambda: mapping.profile,
        "env_vars": lambda: mapping.env_vars,
        "automatic": lambda: type(get_automatic_profile_mapping("sample", sample["profile_args"])).__name__,
    }.items():
        try:
            found = ask()
        except ValueError as error:
            found = {"error": type(error).__name__}
        count += 1
        if found != wanted(sample, part):
            differing.append([sample["id"], part, found, wanted(sample, part)])
try:
    make(sample, conn_id="no_such").validate()
except ValueError as error:
    missing = str(error)
masked = redact("said argpw")  # the password in the arguments of one sample
print("FOUND", json.dumps([AIRFLOW_VERSION, count, differing, missing, masked]))
"""


@pytest.mark.long
@needs_airflow_2
def test_a_connection_of_airflow_2_becomes_what_was_recorded(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(AIRFLOW_2), "-W", "ignore", "-c", SOURCE],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow"), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    version, count, differing, missing, masked = json.loads(line.removeprefix("FOUND "))
    assert version.startswith("2.")
    assert differing == []
    assert count > 500
    assert "conn_id='no_such': Airflow has no connection of that id" in missing
    assert masked == "said ***"
