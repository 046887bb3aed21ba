"""Environments as an image that is mounted at another path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cosmos_venv.environments.archive.image import MovedEnvironment, count_files, write_image
from cosmos_venv.environments.environment import Environment, read_record
from cosmos_venv.environments.maintenance.inventory import file_faults, read_inventory, verify
from cosmos_venv.environments.store import EnvironmentStore, find_first, stores_of
from tests.environments.archive.layouts import files_of, read_layout
from tests.environments.elsewhere import open_to_everybody, own_python, remounted, tmpfs, within
from tests.kit import MakeReady, MakeSpec, OutputOf

AT = Path("/opt/dbt environments")

# Arguments: the path of a store, and a spec as JSON.
FIND = """
import json, os, subprocess, sys
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import find_first, stores_of

found = find_first(stores_of(sys.argv[1]), EnvironmentSpec.from_dict(json.loads(sys.argv[2])))
print(os.geteuid(), subprocess.run([found.script("hello")], capture_output=True, text=True, check=True).stdout)
"""


@pytest.fixture
def hello(tmp_path: Path, make_ready: MakeReady, make_spec: MakeSpec) -> Environment:
    return make_ready(tmp_path / "store", make_spec())


def moved(environment: Environment, at: Path = AT) -> MovedEnvironment:
    return MovedEnvironment.of(environment.path, read_record(environment.record_file), at)


def nothing() -> None:
    pass


@pytest.mark.parametrize("name", ["image", "image.tar"])
def test_a_layout_is_one_of_the_specification_and_names_what_it_holds(
    hello: Environment, tmp_path: Path, name: str
) -> None:
    image = write_image(tmp_path / name, [moved(hello)], on_file=nothing)

    layout = read_layout(tmp_path / name)
    labels = layout.config["config"]["Labels"]
    (held,) = json.loads(labels["cosmos-venv.environments"])
    assert image.size == layout.manifest["layers"][0]["size"]
    assert f"blobs/{image.digest.replace(':', '/')}" in files_of(tmp_path / name)
    assert (layout.config["os"], layout.config["architecture"]) == ("linux", _architecture())
    assert layout.config["created"] == hello.record["built_at"]
    assert labels["cosmos-venv.path"] == str(AT)
    assert (held["digest"], held["pins"]) == (hello.digest, {"hello": "2.0"})
    assert held["python"] == os.path.realpath(hello.python)
    assert held["python_version"] == ".".join(map(str, sys.version_info[:3]))


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def test_the_same_environments_make_the_same_bytes_at_another_time(
    hello: Environment, make_ready: MakeReady, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_ready(tmp_path / "store", make_spec("hello==1.0"))
    calls: list[int] = []

    write_image(tmp_path / "first.tar", [moved(hello), moved(other)], on_file=lambda: calls.append(1))
    os.utime(hello.path / "pyvenv.cfg", (1, 1))
    tomorrow = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    write_image(tmp_path / "second.tar", [moved(hello), moved(other)], on_file=lambda: calls.append(1))

    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    assert len(calls) == 2 * count_files([moved(hello), moved(other)])


def test_what_is_mounted_at_the_path_is_a_store_of_a_search_path(
    hello: Environment, make_spec: MakeSpec, output_of: OutputOf, tmp_path: Path
) -> None:
    place = tmp_path / "another place" / ("of a long name" * 8)
    write_image(tmp_path / "image", [moved(hello, place)], on_file=nothing)

    read_layout(tmp_path / "image").mount(place)

    found = find_first(stores_of(str(place)), make_spec())
    assert found is not None
    found.close()
    assert found.path.is_relative_to(place)
    assert output_of(found.script("hello")) == "hello 2.0"
    assert output_of("sh", "-c", f"cd /; . '{found.path}/bin/activate'; hello") == "hello 2.0"
    assert file_faults(found.path, content=True) == []
    (stored,) = read_inventory(EnvironmentStore(place))
    assert (stored.state, verify(stored).faults) == ("ready", [])
    texts = [path for path in place.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert [path for path in texts if str(tmp_path / "store").encode() in path.read_bytes()] == []
    traced = subprocess.run([found.python, "-v", "-c", "import hello"], capture_output=True, text=True, check=True)
    assert f"__init__.cpython-{sys.version_info.major}{sys.version_info.minor}.pyc matches" in next(
        line for line in traced.stderr.splitlines() if "matches" in line and str(place) in line
    )


def test_another_user_runs_what_is_mounted_read_only(
    hello: Environment, make_spec: MakeSpec, everybodys_folder: Path, tmp_path: Path
) -> None:
    place, aside = everybodys_folder / "image", everybodys_folder / "aside"
    place.mkdir()
    aside.mkdir()
    write_image(tmp_path / "image", [moved(hello, place)], on_file=nothing)
    (tmp_path / "layer.tar").write_bytes(read_layout(tmp_path / "image").layer)
    setup = "\n".join(
        [
            tmpfs(place),
            f"tar -xf {tmp_path}/layer.tar -C {place}",
            remounted(place, "ro"),
            open_to_everybody([*own_python(), place], aside),
        ]
    )

    done = subprocess.run(
        [*within(setup=setup, user=54321), sys.executable, "-c", FIND, place, json.dumps(make_spec().as_dict())],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )

    assert done.stdout.split() == ["54321", "hello", "2.0"], done.stderr


def test_nothing_is_left_of_an_image_that_could_not_be_written(hello: Environment, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    environment = moved(hello)

    def fail() -> None:
        raise OSError("the disk is full")

    for name in ("image", "image.tar"):
        with pytest.raises(OSError, match="the disk is full"):
            write_image(tmp_path / "out" / name, [environment], on_file=fail)

    assert list((tmp_path / "out").iterdir()) == []
