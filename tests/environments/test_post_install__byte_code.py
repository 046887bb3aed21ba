"""All byte code of a new environment is there before anybody uses it, whatever installed it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from cosmos_venv.environments import post_install
from tests.environments.elsewhere import tmpfs, within
from tests.kit import MakeReady, MakeSpec


def compiled(
    *folders: Path, before: tuple[str, ...] = (), check: str = "", code: str = post_install.COMPILE_AND_CHECK
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-I", "-c", code, check, *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def without_byte_code(*folders: Path) -> set[str]:
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    return {path.name for path in sources if not Path(cache_from_source(str(path))).exists()}


def write_modules(folder: Path, count: int) -> None:
    for number in range(count):
        module = folder / f"pier_{number % 7}" / f"berth_{number}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(f"BERTH = {number}\n", encoding="utf-8")


@pytest.mark.parametrize("count", [1, 1000])
def test_every_module_gets_its_byte_code_however_many_share_the_work(tmp_path: Path, count: int) -> None:
    write_modules(tmp_path / "a", count)
    write_modules(tmp_path / "b", 1)

    done = compiled(tmp_path / "a", tmp_path / "b")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{post_install.WRITTEN}\n", "")
    assert without_byte_code(tmp_path) == set()


def test_what_cannot_be_compiled_is_passed_over_without_a_word(tmp_path: Path) -> None:
    write_modules(tmp_path, 400)
    (tmp_path / "template.py").write_text("class {{ name }}: pass", encoding="utf-8")
    (tmp_path / "null.py").write_bytes(b"\0")
    (tmp_path / "latin.py").write_bytes(b"name = '\xe9'\n")
    (tmp_path / "dangling.py").symlink_to("nowhere.py")
    (tmp_path / "loose.py").write_text("PATTERN = '\\d'\nassert (1, 'always')\n", encoding="utf-8")

    done = compiled(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{post_install.WRITTEN}\n", "")
    assert without_byte_code(tmp_path) == {"template.py", "null.py", "latin.py", "dangling.py"}


def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    count = 1000
    mount = tmp_path / "mounted"
    mount.mkdir()
    source = tmp_path / "source"
    write_modules(source, count)
    # As many files as there are modules and folders fit, and a few of the byte code.
    setup = f"{tmpfs(mount, f'nr_inodes={count + 15}')} && cp -r {source} {mount}"

    done = compiled(mount, before=tuple(within(setup=setup)))

    assert done.returncode == 1
    assert "byte code cannot be written: [Errno 28] No space left on device" in done.stdout
    assert post_install.WRITTEN not in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_an_environment_has_all_of_it_and_its_log_says_so_in_one_line(
    tmp_path: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    preference: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "1")
    lines: list[str] = []

    environment = make_ready(tmp_path / "kept", make_spec(), preference=preference, lines=lines)

    (folder,) = environment.path.glob("lib/*/site-packages")
    assert without_byte_code(folder) == set()
    assert [path for path in folder.rglob("*") if path.suffix == ".pyc"]
    assert [line for line in lines if "byte code" in line] == ["Writing byte code and trying out what was installed."]
    assert not (tmp_path / "elsewhere").exists()
