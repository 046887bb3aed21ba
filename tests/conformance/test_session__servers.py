"""The run with servers of Airflow judges this project's implementation, and leaves no process and no file."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.suite_run import run_suite
from conformance.requirements import read_specification


@pytest.mark.long
@pytest.mark.timeout(400)
def test_this_projects_implementation_does_what_is_judged_with_servers(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    wanted = {name for name, one in read_specification().items() if one.has_servers}

    run = run_suite(
        Path(sys.executable),
        "cosmos_venv",
        "--cosmos-servers",
        "-n",
        "0",
        variables={"TMPDIR": str(tmp_path / "tmp")},
    )

    evidence = {each["id"]: each["evidence"] for each in run.report["requirements"] if each["verdict"] != "passed"}
    assert run.verdicts == dict.fromkeys(wanted, "passed"), evidence
    assert run.exit_code == 0
    assert [each for each in psutil.process_iter() if str(tmp_path) in _words(each)] == []  # noqa: TID251 - the path of this test's folder marks them
    assert list((tmp_path / "tmp").iterdir()) == []


def _words(process: psutil.Process) -> str:
    try:
        return " ".join([*process.cmdline(), *process.environ().values()])
    except psutil.Error:
        return ""
