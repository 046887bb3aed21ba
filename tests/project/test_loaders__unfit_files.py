"""A project with files that have no end, are too long or nested too deeply: one sentence of each, and soon."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph

PROJECT = Path(__file__).parent.parent / "data" / "rendering-project"
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
# Python 3.14 bounds the depth by the free stack. These texts fit, and then their missing ends are the fault.
OF_DEPTH = "nested too deeply" if sys.version_info < (3, 14) else "Input data was truncated"
MANIFEST, LS_FILE = "manifest.json", "dbt_ls.jsonl"
OF_PIPE, OF_DEVICE = "it is a named pipe, and no file that has an end", "it is a device, and no file that has an end"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return Path(shutil.copytree(PROJECT, tmp_path / PROJECT.name))


@pytest.fixture(autouse=True)
def _python_nests_as_deep_as_ever() -> Iterator[None]:
    """Whoever copies an operator of Airflow 3 lifts the limit of the whole process to 10,000."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)
    yield
    sys.setrecursionlimit(before)


def load(project: Path, method: LoadMode, **render: Any) -> DbtGraph:
    given = {"dbt_ls_path": project / LS_FILE} if method is LoadMode.DBT_LS_FILE else {}
    manifest = project / MANIFEST if method is LoadMode.DBT_MANIFEST else None
    made = DbtGraph(
        project=ProjectConfig(project, manifest_path=manifest),
        render_config=RenderConfig(load_method=method, **{**given, **render}),
    )
    made.load()
    return made


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


@pytest.mark.parametrize(("method", "name"), [(LoadMode.DBT_MANIFEST, MANIFEST), (LoadMode.DBT_LS_FILE, LS_FILE)])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, OF_PIPE),
        (device, OF_DEVICE),
        (text(" " * 200_000), "it has 200,000 bytes, more than [cosmos_venv] artifact_max_bytes = 150000 (raise that"),
        (text(f'{{"unique_id": "model.a.b", "nodes": {DEEP[:140_000]}'), OF_DEPTH),
        (text('{"unique_id": "model.a.b", "resource_type": "model", "config": ' + DEEP[:140_000]), OF_DEPTH),
    ],
)
def test_of_one_file_that_says_it_all(
    project: Path,
    method: LoadMode,
    name: str,
    make: Callable[[Path], object],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__ARTIFACT_MAX_BYTES", "150000")
    load(project, method)
    (project / name).unlink()
    make(project / name)

    with pytest.raises(CosmosLoadDbtException, match=re.escape(words)) as refused:
        load(project, method)

    assert name in str(refused.value)
    # Nothing below says more, and two tracebacks above the sentence would hide it.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
