"""``write_wheel`` writes wheels that keep the format's own rules."""

from __future__ import annotations

import base64
import csv
import hashlib
import zipfile
from pathlib import Path

from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel

EXAMPLE = Wheel(
    name="My.Distribution",
    version="1.2",
    files={"my/__init__.py": "answer = 42\n"},
    requires=("other>=1",),
    console_scripts={"my-command": "my:main"},
)


def test_record_lists_every_file_with_its_hash_and_size(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_wheel(EXAMPLE, tmp_path)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    record = contents.pop("my_distribution-1.2.dist-info/RECORD").decode()

    rows = {name: (digest, size) for name, digest, size in csv.reader(record.splitlines())}

    assert rows.pop("my_distribution-1.2.dist-info/RECORD") == ("", "")
    assert rows == {name: (urlsafe_sha256(content), str(len(content))) for name, content in contents.items()}


def urlsafe_sha256(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
