"""``cosmos-conformance init`` writes an adapter that works as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.command import main
from pytest_cosmos_venv.conformance.reporting.report import read_report


def here() -> dict[str, str]:
    """Variables of a process that imports from the current directory too."""
    return {**os.environ, "PYTHONPATH": f".{os.pathsep}{os.environ['PYTHONPATH']}"}


def test_the_adapter_that_is_written_is_one_and_the_command_that_judges_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["init", "ferries.py"]) == 0

    told = capsys.readouterr().out
    assert "PYTHONPATH=. pytest --cosmos-conformance --cosmos-implementation=ferries:MyAdapter" in told
    text = Path("ferries.py").read_text(encoding="utf-8")
    assert "--cosmos-implementation=ferries:MyAdapter" in text
    assert [number for number in range(1, 6) if f"# QUESTION {number}:" in text] == [1, 2, 3, 4]
    code = "from pytest_cosmos_venv.conformance.cosmos_layout import open_adapter; open_adapter('ferries:MyAdapter')"
    subprocess.run([sys.executable, "-c", code], env=here(), check=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("ferries.py", "ferries.py is there already: give another FILE.", id="there"),
        pytest.param("my-ferries.py", "my-ferries.py is the name of no Python module: give one such as", id="name"),
        pytest.param("ferries", "ferries is the name of no Python module", id="suffix"),
        pytest.param("nowhere/ferries.py", "nowhere/ferries.py", id="folder"),
    ],
)
def test_where_no_adapter_can_be_written_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ferries.py").write_text("mine", encoding="utf-8")

    assert main(["init", name]) == 2

    assert words in capsys.readouterr().err
    assert Path("ferries.py").read_text(encoding="utf-8") == "mine"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_adapter_is_judged_before_a_question_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["init"])
    options = ["--cosmos-implementation=my_adapter:MyAdapter", "--cosmos-requirement=ENV-002", "--cosmos-report=out"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--cosmos-conformance", *options],
        env=here(),
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )

    assert done.returncode == 11, done.stdout + done.stderr
    verdicts = {each["id"]: each["verdict"] for each in read_report(tmp_path / "out")["requirements"]}
    assert verdicts["ENV-002"] == "passed", done.stdout
