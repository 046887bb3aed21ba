"""Which files ``cosmos-venv doctor`` finds that Airflow passes over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.cli.doctor import Examined, check_discovery
from tests.cli.conftest import Run
from tests.command_line import write_dag_file


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        pytest.param("from cosmos_venv import DbtDag\n", "'airflow'", id="no-airflow"),
        pytest.param("from cosmos_venv import DbtTaskGroup\n", "'airflow' and 'dag'", id="neither"),
        pytest.param(
            "def f():\n    import cosmos_venv.dag as d\n    d.DbtDag()\n", "'airflow'", id="package-within-function"
        ),
        pytest.param("import cosmos_venv.config\n", None, id="package-that-makes-none"),
        pytest.param("from cosmos_venv.dag import *\nDbtDag()\n", "'airflow'", id="star"),
        pytest.param("# An AirFlow DAG\nfrom cosmos_venv import DbtDag\n", None, id="comment"),
        pytest.param("x = 1\n", None, id="not-ours"),
    ],
)
def test_a_file_that_airflow_passes_over_is_found(tmp_path: Path, source: str, missing: str | None) -> None:
    path = write_dag_file(tmp_path, source)

    (found,) = check_discovery(Examined(files=(path,)))

    fault = f"Airflow passes the file over: it lacks {missing}."
    assert found.subject == str(path)
    assert (found.outcome == "ok") if missing is None else (found.outcome, found.text) == ("failed", fault)


def test_a_file_that_makes_no_dag_to_be_seen_is_fine_and_still_said_to_be_passed_over(tmp_path: Path) -> None:
    (found,) = check_discovery(Examined(files=(write_dag_file(tmp_path, "from makers import whole\n"),)))

    assert found.outcome == "ok"
    assert found.text.endswith("Airflow passes the file over: it lacks 'airflow' and 'dag'.")


def test_a_file_that_cannot_be_read_is_found_and_the_others_are_still_examined(run: Run, tmp_path: Path) -> None:
    broken, hidden = tmp_path / "broken.py", tmp_path / "hidden.py"
    broken.mkdir()
    hidden.write_text("from cosmos_venv import DbtDag")

    done = run("doctor", "--only", "discovery", broken, hidden, "--json")

    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert [each["subject"] for each in findings] == [str(broken), str(hidden)]
    assert findings[0]["text"] == "It cannot be read: Is a directory."
    assert "# an airflow dag" in findings[1]["way_out"]


def test_where_airflow_looks_into_every_file_no_word_is_needed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE", "False")

    done = run("doctor", "--only", "discovery", write_dag_file(tmp_path, "from cosmos_venv import DbtDag"))

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ok      discovery  {tmp_path}/dag.py: Airflow looks into it.\n"
