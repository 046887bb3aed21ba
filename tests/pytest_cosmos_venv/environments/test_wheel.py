"""``write_wheel`` writes wheels that keep the format's own rules."""

from __future__ import annotations

import base64
import csv
import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_cosmos_venv import Wheel, write_wheel
from tests.pytest_cosmos_venv.environments.installing import PlainInstall

EXAMPLE = Wheel(
    name="My.Distribution",
    version="1.2",
    files={"my/__init__.py": "answer = 42\n"},
    requires=("other>=1",),
    console_scripts={"my-command": "my:main"},
)


def test_the_file_name_is_the_normalized_name_version_and_tags(tmp_path: Path) -> None:
    path = write_wheel(EXAMPLE, tmp_path)

    assert path == tmp_path / "my_distribution-1.2-py3-none-any.whl"
    assert path.is_file()


def test_record_lists_every_file_with_its_hash_and_size(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_wheel(EXAMPLE, tmp_path)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    record = contents.pop("my_distribution-1.2.dist-info/RECORD").decode()

    rows = {name: (digest, size) for name, digest, size in csv.reader(record.splitlines())}

    assert rows.pop("my_distribution-1.2.dist-info/RECORD") == ("", "")
    assert rows == {name: (urlsafe_sha256(content), str(len(content))) for name, content in contents.items()}


def test_equal_wheels_are_equal_bytes(tmp_path: Path) -> None:
    first = write_wheel(EXAMPLE, tmp_path).read_bytes()

    assert write_wheel(EXAMPLE, tmp_path).read_bytes() == first


def test_uv_takes_a_wheel_that_was_replaced_from_its_cache_and_the_new_one_into_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = Wheel(name="harbor", version="1.0", files={"harbor.py": "'old'\n"})
    (tmp_path / "wheels").mkdir()

    def installed(target: str, *, cache: str) -> str:
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / cache))
        install = PlainInstall(installer="uv", target=tmp_path / target)
        code, said = install("--no-index", "--find-links", str(tmp_path / "wheels"), "harbor")
        assert code == 0, said
        return (install.target / "harbor.py").read_text()

    write_wheel(wheel, tmp_path / "wheels")
    first = installed("first", cache="one")
    write_wheel(replace(wheel, files={"harbor.py": "'new'\n"}), tmp_path / "wheels")
    same, other = installed("same", cache="one"), installed("other", cache="another")

    assert (first, same, other) == ("'old'\n", "'old'\n", "'new'\n")


def urlsafe_sha256(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
