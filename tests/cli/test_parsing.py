"""What is wrong with the words of a command is told with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

MANIFEST = Path(__file__).parents[1] / "data" / "rendering-project" / "manifest.json"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "required: SUBJECT"),
        ("env", "required: ACTION"),
        ("env warm", "give a DAG file"),
        ("env warm no-such-file.py", "argument SOURCE: 'no-such-file.py' does not exist"),
        ("env lock", "required: DAGFILE"),
        ("env lock requirements.txt", "'requirements.txt' is no DAG file"),
        ("env lock dag.py --output lock.toml", "'lock.toml' is neither pylock.toml, nor"),
        ("env lock dag.py --output gone/pylock.toml", "there is no directory"),
        ("env list", "required: DIR"),
        ("env show .", "required: NAME"),
        ("env prune . --max-count -1", "--max-count: '-1' is no whole number of 0 or more"),
        ("env prune . --digest x --max-count 1", "whatever the limits say: leave them out"),
        ("server", "required: ACTION"),
        ("server stop", "give the names of servers, or --all"),
        ("server stop --all 123", "give the names of servers, or --all"),
        ("server status --dir /nowhere", "'/nowhere' does not exist"),
        (f"render {MANIFEST} --dag-id x", "is a project: --dag-id and --group"),
        ("render dag.py --exclude x", "RenderConfig says what --exclude would"),
        (f"render {MANIFEST} --format png", "invalid choice: 'png'"),
    ],
)
def test_wrong_use_has_exit_code_2_and_says_why(
    words: str, told: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("requirements.txt", "dag.py"):
        (tmp_path / name).touch()

    done = run(*words.split())

    assert (done.returncode, done.stdout) == (2, "")
    assert told in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "options", ["--adbc-driver libduckdb.so", "--python python3 --pip-option=--pre --system-site-packages"]
)
def test_what_a_dag_file_says_itself_is_refused_beside_it(options: str, run: Run, tmp_path: Path) -> None:
    dag_file = tmp_path / "dag.py"
    dag_file.write_text("raise RuntimeError('it was imported')\n")

    done = run("env", "warm", dag_file, *options.split())

    assert done.returncode != 0
    assert " no effect on a DAG file" in done.stderr
    assert "it was imported" not in done.stderr
