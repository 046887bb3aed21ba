"""Wheels that are written without a build backend: any wheel, even a broken one, and wheels of the fake dbt.

A wheel is a zip file with four well-known texts in it; equal wheels are equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_cosmos_venv.fake_dbt import fake_dbt_files, is_native, native_dbt_files

# Zip knows no time before 1980; a fixed one makes equal wheels equal bytes.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_WHEEL_FILE = "Wheel-Version: 1.0\nGenerator: pytest-cosmos-venv\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_SCRIPTS = ".data/scripts/"
DBT_VERSION = "1.10.0"
ADAPTERS = (
    "athena",
    "bigquery",
    "clickhouse",
    "databricks",
    "duckdb",
    "exasol",
    "mysql",
    "oracle",
    "postgres",
    "redshift",
    "snowflake",
    "spark",
    "sqlserver",
    "starrocks",
    "teradata",
    "trino",
    "vertica",
)
"""The adapters that profiles can be made for from Airflow connections."""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A pure Python distribution.

    :param name: the name of the distribution, in any spelling.
    :param version: the version.
    :param files: path inside the wheel -> text.
    :param requires: the requirements, one text each.
    :param console_scripts: command -> ``module:function``.
    """

    name: str
    version: str
    files: Mapping[str, str]
    requires: tuple[str, ...] = ()
    console_scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """The file name in the binary distribution format, for every Python 3 and platform."""
        return f"{self.stem}-py3-none-any.whl"

    @property
    def contents(self) -> dict[str, str]:
        """The files of the wheel but its ``RECORD``: path -> text."""
        return {**self.files, **{f"{self.info_folder}/{name}": text for name, text in self.info.items()}}

    @property
    def info(self) -> dict[str, str]:
        """The texts of its ``.dist-info`` folder but ``RECORD``, by their names there."""
        texts = {"METADATA": self.metadata, "WHEEL": _WHEEL_FILE}
        if self.console_scripts:
            lines = [f"{command} = {target}" for command, target in self.console_scripts.items()]
            texts["entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
        return texts

    @property
    def record(self) -> tuple[str, str]:
        """Path and text of ``RECORD``: each other file with its hash and size, and ``RECORD`` without them."""
        path = f"{self.info_folder}/RECORD"
        rows = [_record_row(name, text) for name, text in self.contents.items()]
        return path, "\n".join([*rows, f"{path},,", ""])

    @property
    def stem(self) -> str:
        """The beginning of every file name of the distribution, name and version: ``dbt_core-1.10.0``."""
        return f"{re.sub(r'[-_.]+', '_', self.name).lower()}-{self.version}"

    @property
    def info_folder(self) -> str:
        """The name of its ``.dist-info`` folder."""
        return f"{self.stem}.dist-info"

    @property
    def metadata(self) -> str:
        """The text of ``METADATA``, and of the ``PKG-INFO`` of an sdist."""
        # From 2.2 on the metadata of an sdist may be relied on, so that uv need not build it to know them.
        lines = ["Metadata-Version: 2.2", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join([*lines, ""])


def write_wheel(wheel: Wheel, folder: Path) -> Path:
    """Write a wheel, and return its path; an older one of the name is replaced.

    uv caches a wheel of a ``--find-links`` folder by folder, name and version, and later installs the cached wheel
    whatever the file holds: https://github.com/astral-sh/uv/issues/3518. ``cosmos_dbt`` gives each test a cache of its
    own (``UV_CACHE_DIR``).

    :param wheel: the wheel.
    :param folder: an existing folder.
    """
    path = folder / wheel.filename
    path.write_bytes(wheel_bytes(wheel))
    return path


def wheel_bytes(wheel: Wheel) -> bytes:
    """Return the content of a wheel's file; equal wheels are equal bytes.

    :param wheel: the wheel.
    """
    packed = io.BytesIO()
    path, record = wheel.record
    with zipfile.ZipFile(packed, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**wheel.contents, path: record}.items():
            entry = zipfile.ZipInfo(name, date_time=_TIMESTAMP)
            # uv makes every script executable, and pip only regular files that are executable in the wheel.
            mode = stat.S_IFREG | 0o755 if _SCRIPTS in name else 0o644
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    return packed.getvalue()


def _record_row(name: str, text: str) -> str:
    content = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def dbt_wheel(version: str) -> Wheel:
    """Return the wheel of ``dbt-core`` with a ``dbt`` that is scripted and recorded.

    :param version: the version that it says of itself; from 2 on it is a program without a Python package.
    """
    if is_native(version):
        wheel = Wheel(name="dbt-core", version=version, files={})
        return replace(wheel, files=native_dbt_files(wheel.stem))
    return Wheel(
        name="dbt-core",
        version=version,
        files={**fake_dbt_files(), "dbt/version.py": f'__version__ = "{version}"\n'},
        console_scripts={"dbt": "dbt.cli.main:cli"},
    )


def adapter_wheel(name: str, version: str, *requires: str) -> Wheel:
    """Return the wheel of the adapter ``dbt-<name>``.

    :param name: the name without ``dbt-``.
    :param version: the version of the adapter.
    :param *requires: its requirements.
    """
    files = {f"dbt/adapters/{name}/__init__.py": f'"""Fake of the {name} adapter."""\n'}
    return Wheel(name=f"dbt-{name}", version=version, files=files, requires=requires)


def fake_dbt_wheel(name: str, version: str, requires: tuple[str, ...] | None = None) -> Wheel:
    """Return the fake of any distribution: ``dbt-core``, an adapter, or a package with an empty module.

    :param name: the name of the distribution.
    :param version: its version.
    :param requires: its requirements; None: dbt-core for an adapter, and nothing for another distribution.
    """
    if name == "dbt-core":
        return replace(dbt_wheel(version), requires=requires or ())
    if name.startswith("dbt-"):
        return adapter_wheel(name[4:].replace("-", "_"), version, *(("dbt-core",) if requires is None else requires))
    return Wheel(name=name, version=version, files={f"{name.replace('-', '_')}.py": ""}, requires=requires or ())
