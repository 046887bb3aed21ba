"""Everything that reads a text of somebody else takes any text at all for "nothing", at a bounded cost."""

from __future__ import annotations

import base64
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv import compat
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.operators.queries import sql_store
from cosmos_venv.operators.run.journal_record import Line, line_of, record_in, unpacked
from cosmos_venv.operators.run.run_request import listed
from cosmos_venv.operators.seeds.seed_state import decoded, fields_of
from cosmos_venv.remote.download_cache import Copy
from tests.odd_files import KINDS, plant

MEBIBYTE = 1024 * 1024


def text_of_zlib(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


DEEP = "[" * 100_000
DEEP_OBJECT = '{"a":' * 100_000
TEXTS = {
    "nothing": "",
    "no-json": "no JSON",
    "null": "null",
    "number": "7",
    "list": "[]",
    "object": "{}",
    "other-types": '{"pid": {}, "leader": [], "id": 1, "end": {}, "number": null, "done": 7, "checksum": []}',
    "deep-list": DEEP,
    "deep-object": DEEP_OBJECT,
    "deep-packed": text_of_zlib(DEEP_OBJECT.encode()),
    "bomb": text_of_zlib(b" " * (400 * MEBIBYTE)),
    "cut-off": text_of_zlib(b"[]" * 1000)[:-8],
}
CONTENTS = {**{name: text.encode() for name, text in TEXTS.items()}, "not-utf-8": b'{"pid": 1, "host": "\xff"}'}


def refusal_of(read: Callable[[Any], object], error: type[Exception]) -> Callable[[Any], object]:
    """A reader that raises this error alone, as one that returns nothing."""

    def reads(text: Any) -> object:
        try:
            return read(text)
        except error:
            return None

    return reads


OF_TEXTS: dict[str, Callable[[str], object]] = {
    "records of a try": lambda text: unpacked("key", text),
    "line of a journal": lambda text: line_of(text) != Line(),
    "checksum of a seed": decoded,
    "fields of a seed": lambda text: fields_of(text).get("algorithm"),
    "ids of dbt ls": lambda text: listed([text]),
}
OF_CONTENTS: dict[str, Callable[[bytes], object]] = {
    "copy of a remote file": Copy.unpacked,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("read", OF_TEXTS.values(), ids=OF_TEXTS)
def test_a_text_of_somebody_else_is_nothing(read: Callable[[str], object], text: str) -> None:
    tracemalloc.start()
    try:
        found = read(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert not found
    assert peak < 40 * MEBIBYTE


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("read", OF_CONTENTS.values(), ids=OF_CONTENTS)
def test_bytes_of_somebody_else_are_nothing(read: Callable[[bytes], object], content: bytes) -> None:
    assert not read(content)


class _RecordAt(EnvironmentStore):
    """A store whose records all stand in one file."""

    def record_file(self, digest: str) -> Path:  # noqa: ARG002 - whatever it is
        return self.directory

    def record(self) -> object:
        return refusal_of(self.published, OSError)("0" * 64)


OF_FILES: dict[str, Callable[[Path], object]] = {
    "journal of earlier tries": lambda file: record_in(file.parent),
    "record of a build": lambda file: _RecordAt(file).record(),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a folder of this user alone, which is not there yet."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder / "0001.jsonl"


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("read", OF_FILES.values(), ids=OF_FILES)
def test_a_file_of_somebody_else_is_nothing(read: Callable[[Path], object], content: bytes, file: Path) -> None:
    file.write_bytes(content + b"\n")

    assert not read(file)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", OF_FILES.values(), ids=OF_FILES)
def test_what_is_no_plain_file_is_nothing_and_not_waited_for(
    read: Callable[[Path], object], kind: str, file: Path
) -> None:
    plant(file, kind)

    assert not read(file)


def test_a_sparse_file_of_a_terabyte_is_nothing(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)

    for read in OF_FILES.values():
        assert not read(file)


@pytest.mark.parametrize("text", [*TEXTS.values(), None, 7, ["a"], {"b": 1}], ids=[*TEXTS, "none", "7", "array", "map"])
def test_an_xcom_of_somebody_else_is_no_sql(text: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "xcom", lambda *_, **__: text)
    ti = SimpleNamespace(dag_id="shop", run_id="one", map_index=-1)

    with pytest.raises(LookupError, match=r"no SQL of model\.shop\.orders in this run"):
        sql_store.fetch("model.shop.orders", {"ti": ti}, "setup")
