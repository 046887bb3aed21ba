"""Permissions that a user wants for the directories of a store."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.files.own_files import directory_mode, make_directory
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeSpec, SetUmask


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("0755", 0o755), ("0o750", 0o750), ("2775", 0o2775)],
)
def test_it_is_written_as_chmod_takes_it(text: str, expected: int | None) -> None:
    assert directory_mode(text) == expected


@pytest.mark.parametrize("how", ["by-a-task", "detached"])
def test_every_directory_of_a_new_store_has_it_whatever_the_umask(
    tmp_path: Path, make_spec: MakeSpec, set_umask: SetUmask, how: str
) -> None:
    set_umask(0o077)
    directory = tmp_path / "above" / "store"
    if how == "detached":
        build_detached(
            BuildRequest(store=EnvironmentStore(directory, directory_mode="0751"), spec=make_spec(), max_tries=5),
            wait=None,
            report=print,
        )
    else:
        with open_environment(
            BuildRequest(
                store=EnvironmentStore(directory, directory_mode="0751"), spec=make_spec(), preference="uv", max_tries=5
            ),
            cancellation=Cancellation(),
            report=print,
        ):
            pass

    made = [directory.parent, directory, directory / "envs-v2"]
    made += [directory / "envs-v2" / "detached"] if how == "detached" else []
    assert {str(path.relative_to(tmp_path)): oct(mode_of(path)) for path in made} == {
        str(path.relative_to(tmp_path)): "0o751" for path in made
    }


def test_a_directory_that_stands_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)

    make_directory(tmp_path / "mine" / "new", "0750")

    assert mode_of(tmp_path / "mine") == 0o700
    assert mode_of(tmp_path / "mine" / "new") == 0o750
