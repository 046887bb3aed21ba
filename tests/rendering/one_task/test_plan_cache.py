"""A plan that is kept, and what is there in its place: a worker then makes all of the DAG."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosmos_venv import version
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.rendering.model import Plan, PlannedTask
from cosmos_venv.rendering.one_task import plan_cache
from cosmos_venv.rendering.one_task.plan_cache import find, keep


@pytest.fixture
def kept(tmp_path: Path) -> FileCache:
    return FileCache(folder=tmp_path / "cache" / "plans", suffix=".jsonl")


def plan(folder: Path, *task_ids: str) -> Plan:
    tasks = tuple(
        PlannedTask(
            task_id=each,
            operator="empty",
            context={"dbt_node_config": {"file_path": str(folder / f"{each}.sql"), "unique_id": each}},
        )
        for each in task_ids
    )
    return Plan(tasks=tasks, groups=(), edges=((task_ids[0], task_ids[-1]),), tasks_map={})


def test_a_task_is_found_with_its_neighbours_where_the_project_is_now(kept: FileCache, tmp_path: Path) -> None:
    keep(kept, "key", plan(tmp_path / "then", "a", "a.b", "aé", "z"), tmp_path / "then")

    found = find(kept, "key", "a", tmp_path / "now")

    assert found is not None
    assert (found.upstream, found.downstream) == ((), ("z",))
    assert found.task.context["dbt_node_config"]["file_path"] == str(tmp_path / "now" / "a.sql")
    assert [find(kept, "key", each, tmp_path) is not None for each in ("a.b", "aé", "z", "b")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_file_outside_the_project_stays_where_it_is(kept: FileCache, tmp_path: Path) -> None:
    keep(kept, "key", plan(tmp_path / "elsewhere", "a", "b"), tmp_path / "project")

    found = find(kept, "key", "a", tmp_path / "now")

    assert found is not None
    assert found.task.context["dbt_node_config"]["file_path"] == str(tmp_path / "elsewhere" / "a.sql")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'a\t[{"task_id":"a"', id="cut-off"),
        pytest.param(b'a\t[{"task_id":"\xff","operator":"empty"},[],[],[]]\n', id="no-utf-8"),
        pytest.param(
            b'a\t[{"task_id":"a","operator":"empty","context":{"dbt_node_config":{"x":1}}},[],[],[]]\n', id="other"
        ),
        pytest.param(b"a\t[]\n", id="empty"),
    ],
)
def test_what_is_damaged_is_no_plan(kept: FileCache, tmp_path: Path, line: bytes) -> None:
    kept.write("key", line)

    assert find(kept, "key", "a", tmp_path) is None


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one file in each folder that plans."""
    for folder in ("config", "project", "rendering/one_task"):
        (tmp_path / "cosmos_venv" / folder).mkdir(parents=True)
        (tmp_path / "cosmos_venv" / folder / "some.py").write_text("before")
    monkeypatch.setattr(plan_cache, "__file__", str(tmp_path / "cosmos_venv" / "rendering" / "one_task" / "some.py"))
    return tmp_path / "cosmos_venv"


def code() -> str:
    return plan_cache._code.__wrapped__()


def test_another_code_of_an_editable_install_has_another_key(package: Path) -> None:
    before = code()
    (package / "project" / "__pycache__").mkdir()
    (package / "project" / "__pycache__" / "some.cpython-311.pyc").write_bytes(b"compiled")
    assert code() == before

    (package / "project" / "some.py").write_text("behind")
    os.utime(package / "project" / "some.py", (0, 0))

    assert code() != before


def test_a_wheel_has_one_key_on_every_machine_and_another_wheel_has_another(package: Path) -> None:
    record = package.parent / f"cosmos_venv-{version.__version__}.dist-info" / "RECORD"
    record.parent.mkdir()
    rows = ["cosmos_venv/project/some.py,sha256=abc,6", "cosmos_venv/cli/other.py,sha256=def,6"]
    record.write_text("\n".join(rows))
    before = code()

    os.utime(package / "project" / "some.py", (0, 0))
    compiled = "cosmos_venv/project/__pycache__/some.cpython-311.pyc,,"
    record.write_text("\n".join([compiled, rows[1].replace("def", "012"), rows[0]]))
    assert code() == before
    record.write_text("\n".join([rows[0].replace("abc", "abd")]))
    assert code() != before
