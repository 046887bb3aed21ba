"""A build is held against its record: what changed since is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import read_inventory
from cosmos_venv.environments.maintenance.verification import damage, verify
from cosmos_venv.environments.store import Environment, EnvironmentStore
from tests.kit import MakeReady, MakeSpec


@pytest.fixture
def built(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> Environment:
    """An environment of hello 1.0."""
    return make_ready(tmp_path, make_spec("hello==1.0"))


def faults(directory: Path, *, content: bool = False) -> list[str]:
    (stored,) = read_inventory(EnvironmentStore(directory))
    return verify(stored, content=content).faults


def site_packages(environment: Environment) -> Path:
    return next(environment.path.glob("lib/*/site-packages"))


def test_what_others_can_write_is_told_and_not_run(tmp_path: Path, built: Environment) -> None:
    next(built.path.glob("lib/*/site-packages/hello")).chmod(0o777)
    (told,) = faults(tmp_path)
    (stored,) = read_inventory(EnvironmentStore(tmp_path))
    has_run = verify(stored, check="raise SystemExit('it was run')").has_run
    built.path.chmod(0o777)
    (fault,) = faults(tmp_path)

    assert told.endswith("hello: everybody may write to it")
    assert not has_run
    assert "is not used because everybody may write to it" in fault
    assert f"'chmod o-w {built.path}'" in fault


def replace(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


LOSSES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no module": ("{packages}/hello/__init__.py", Path.unlink, "hello/__init__.py is missing"),
    "no command": ("bin/hello", Path.unlink, "bin/hello is missing"),
    "an empty command": ("bin/hello", lambda path: replace(path, b""), "bin/hello is empty or may not be executed"),
    "no permission to run": ("bin/hello", lambda path: path.chmod(0o644), "bin/hello is empty or may not be executed"),
    "a named pipe as command": ("bin/hello", make_a_pipe, "bin/hello is no file"),
    "a link that leads nowhere": (
        "{packages}/hello/__init__.py",
        link_to_nowhere,
        "hello/__init__.py is missing",
    ),
    "no configuration": ("pyvenv.cfg", Path.unlink, "pyvenv.cfg is missing or empty"),
    "no list of files": ("{packages}/hello-1.0.dist-info/RECORD", Path.unlink, "hello-1.0.dist-info/RECORD is missing"),
    "no name": (
        "{packages}/hello-1.0.dist-info/METADATA",
        Path.unlink,
        "hello is not installed instead of 1.0; hello-1.0.dist-info/METADATA is missing",
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_named(tmp_path: Path, built: Environment, loss: str) -> None:
    name, lose, expected = LOSSES[loss]

    lose(built.path / name.format(packages=site_packages(built)))

    assert "; ".join(faults(tmp_path)) == expected
    assert "; ".join(damage(built)) == expected


METADATA: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "cut-in-a-name": lambda content: content[:22],
    "not-utf-8": lambda content: b"\xff" * len(content),
    "zeros": lambda content: bytes(len(content)),
    "empty": lambda _: b"",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA", "RECORD", "WHEEL"])
@pytest.mark.parametrize("spoil", METADATA)
def test_metadata_that_cannot_be_read_is_damage_and_no_error(built: Environment, name: str, spoil: str) -> None:
    file = site_packages(built) / "hello-1.0.dist-info" / name
    replace(file, METADATA[spoil](file.read_bytes()))

    found = damage(built)
    told = faults(built.path.parents[1], content=True)

    assert told != []
    assert set(found) <= set(told)
    assert not any("it cannot be read" in fault for fault in told)


def test_what_pip_has_built_is_held_against_the_same(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    built = make_ready(tmp_path, make_spec("hello==1.0"), preference="pip")

    before = faults(tmp_path, content=True)
    (built.path / "bin" / "hello").chmod(0o644)

    assert (before, faults(tmp_path)) == ([], ["bin/hello is empty or may not be executed"])


def test_what_keeps_its_size_is_found_by_its_content_alone(tmp_path: Path, built: Environment) -> None:
    module, command = site_packages(built) / "hello" / "__init__.py", built.path / "bin" / "hello"
    for path in (module, command):
        replace(path, bytes(path.stat().st_size))

    looked_at, read = faults(tmp_path), faults(tmp_path, content=True)

    assert looked_at == []
    assert read == [
        "bin/hello has another content than was installed",
        "hello/__init__.py has another content than was installed",
    ]


def test_what_was_installed_later_and_what_is_gone_is_named(tmp_path: Path, built: Environment) -> None:
    installed = site_packages(built) / "hello-1.0.dist-info"
    added = site_packages(built) / "added-3.0.dist-info"
    added.mkdir()
    (added / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 3.0\n")
    (added / "RECORD").write_text("added-3.0.dist-info/METADATA,,\n")
    shutil.rmtree(installed)

    assert faults(tmp_path) == ["added is 3.0 instead of absent", "hello is not installed instead of 1.0"]


def test_an_interpreter_that_is_gone_is_named(tmp_path: Path, built: Environment) -> None:
    built.python.unlink()
    built.python.symlink_to(tmp_path / "uninstalled" / "python")

    assert f"bin/python leads to {tmp_path}/uninstalled/python, which is missing" in faults(tmp_path)


def test_nothing_that_is_installed_is_run(tmp_path: Path, built: Environment) -> None:
    (site_packages(built) / "planted.pth").write_text(
        f"import pathlib; pathlib.Path({str(tmp_path / 'run')!r}).touch()"
    )

    faults(tmp_path)

    assert not (tmp_path / "run").exists()
