"""The artifacts of an earlier run as dbt reads them in a state folder, and as one file.

One file, because a file appears atomically: in a folder by a rename, in object storage by its upload.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path

from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.files.read_limits import Limit, UnfitFileError, read_pieces

MANIFEST = "manifest.json"
NAMES = (MANIFEST, "run_results.json", "sources.json")
"""The artifacts that dbt reads in a state folder: for ``state:`` and ``--defer``, ``result:``, ``source_status:``."""

PACKED_SUFFIX = ".zip"
# Old enough for every dbt with these flags: a newer dbt 1 reads old versions too, and dbt 2 reads any version.
_EMPTY_VERSIONS = {MANIFEST: "manifest/v9", "run_results.json": "run-results/v4", "sources.json": "sources/v3"}
_NO_NODES = (
    "nodes",
    "sources",
    "macros",
    "docs",
    "exposures",
    "metrics",
    "groups",
    "selectors",
    "disabled",
    "parent_map",
    "child_map",
    "group_map",
    # dbt 2 reads no manifest without these; dbt 1.5 ignores them.
    "saved_queries",
    "semantic_models",
    "unit_tests",
)


def packed(artifacts: Artifacts) -> bytes | None:
    """The artifacts of a run as one file; None where dbt has written no manifest.

    :param artifacts: the artifacts that the run has left.
    """
    found = {name: content for name in NAMES if (content := artifacts.content(name)) is not None}
    if MANIFEST not in found:
        return None
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    return file.getvalue()


def unpack(content: bytes, folder: Path, limit: Limit) -> None:
    """Unpack artifacts into a folder, which is created.

    :param content: of the file.
    :param folder: the state folder.
    :param limit: of each artifact, unpacked.
    :raises ValueError: when the content is no such file, or is truncated.
    :raises UnfitFileError: when an artifact is longer than the limit.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {name: _read(archive, name, limit) for name in NAMES if name in archive.namelist()}
    except UnfitFileError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"no packed artifacts: {error}") from None
    if MANIFEST not in found:
        raise ValueError(f"no packed artifacts: there is no {MANIFEST} among them")
    write(found, folder)


def _read(archive: zipfile.ZipFile, name: str, limit: Limit) -> bytes:
    with archive.open(name) as file:
        return read_pieces(file.read, expected=archive.getinfo(name).file_size, limit=limit, where=name)


def write(contents: dict[str, bytes], folder: Path) -> None:
    """Write these artifacts into the folder, which is made.

    :param contents: name of each artifact -> its bytes.
    :param folder: the state folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def write_empty(folder: Path) -> None:
    """Write the artifacts of an empty run: to dbt every node is new, and there is nothing to defer to.

    :param folder: the state folder, which is made.
    """
    write({name: json.dumps(_empty(name)).encode() for name in NAMES}, folder)


def _empty(name: str) -> dict[str, object]:
    version = f"https://schemas.getdbt.com/dbt/{_EMPTY_VERSIONS[name]}.json"
    metadata = {"dbt_schema_version": version, "generated_at": "1970-01-01T00:00:00Z", "env": {}}
    if name == MANIFEST:
        # dbt 2 needs both, and takes the name of any adapter.
        made_by = {"dbt_version": "1.5.0", "adapter_type": "duckdb"}
        return {"metadata": metadata | made_by, **{each: {} for each in _NO_NODES}}
    return {"metadata": metadata, "results": [], "elapsed_time": 0.0, "args": {}}
