from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.throwaway import throwaway_folder

ROOT = Path(__file__).resolve().parents[2]
SOMEBODY = 51_234

# Root may delete everywhere, so it becomes somebody else first.
CLOSED_ENVIRONMENT = f"""
import os, sys
from pathlib import Path
from pytest_cosmos_venv.throwaway import throwaway_folder
if os.getuid() == 0:
    os.setgid({SOMEBODY})
    os.setuid({SOMEBODY})
with throwaway_folder("environment-") as folder:
    scripts = folder / "environment" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "python").symlink_to(sys.argv[1])
    (folder / "environment" / "elsewhere").symlink_to(Path(sys.argv[1]).parent)
    for each in (scripts, scripts.parent):
        each.chmod(0o555)
print(folder.exists())
"""


def test_what_a_closed_folder_links_keeps_its_mode(everybodys_directory: Path) -> None:
    linked = everybodys_directory / "programs" / "python"
    linked.parent.mkdir()
    linked.write_text("", encoding="utf-8")
    for path, mode in ((linked, 0o755), (linked.parent, 0o511)):
        if os.getuid() == 0:
            os.chown(path, SOMEBODY, SOMEBODY)
        path.chmod(mode)

    done = subprocess.run(
        [sys.executable, "-c", CLOSED_ENVIRONMENT, str(linked)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(everybodys_directory)},
    )

    assert done.stdout.strip() == "False", done.stderr
    assert stat.S_IMODE(linked.stat().st_mode) == 0o755
    assert stat.S_IMODE(linked.parent.stat().st_mode) == 0o511


def test_an_error_in_it_removes_it_too(tmp_path: Path) -> None:
    def fail_in_it() -> None:
        with throwaway_folder("mine-", within=tmp_path) as folder:
            (folder / "file").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_it()

    assert not list(tmp_path.iterdir())
