"""``cosmos-venv env warm`` of several environments: their installers run at once, under one owner of the lock."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.command_line import cosmos_venv

# A build that waits until another one has begun too.
BACKEND = """
import os, pathlib, time, zipfile
PLACE = pathlib.Path({place!r})

def build_wheel(directory, config_settings=None, metadata_directory=None):
    (PLACE / {name!r}).write_text((PLACE / "store" / "cosmos_virtualenv.lock").read_text())
    deadline = time.monotonic() + 30
    while not (PLACE / {other!r}).exists():
        assert time.monotonic() < deadline, "no other build has begun"
        time.sleep(0.01)
    wheel = "{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, wheel), "w") as archive:
        archive.writestr("{name}.py", "")
        archive.writestr("{name}-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        archive.writestr("{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("{name}-1.0.dist-info/RECORD", "{name}.py,,\\n")
    return wheel
"""


def write_requirements(place: Path, name: str, other: str) -> Path:
    """A requirements file of a dbt and of a project that is built only while the other one is built."""
    project = place / f"project-{name}"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text(BACKEND.format(place=str(place), name=name, other=other))
    file = place / f"{name}.txt"
    file.write_text(f"dbt-core==1.10.0\n{project}\n")
    return file


def test_two_environments_are_built_at_once_under_one_owner_of_the_lock(
    tmp_path: Path, fake_dbt_wheels: Wheelhouse
) -> None:
    files = [write_requirements(tmp_path, "one", "two"), write_requirements(tmp_path, "two", "one")]
    options = [f"--pip-option={option}" for option in fake_dbt_wheels.pip_install_options]

    done = cosmos_venv("env", "warm", *files, *options, "--dir", tmp_path / "store", "--json")

    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)["environments"]
    assert [each["was_built"] for each in built] == [True, True]
    assert built[0]["path"] != built[1]["path"]
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() != ""
    assert not (tmp_path / "store" / "cosmos_virtualenv.lock").exists()
