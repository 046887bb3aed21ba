"""What an installer is told where there is no home or cache for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.installers.choice import variables_for_lack_of_a_home


def test_an_ordinary_user_is_given_nothing_and_nothing_is_made(tmp_path: Path) -> None:
    added = variables_for_lack_of_a_home({"HOME": str(tmp_path)})

    assert added == {}
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_no_directory_keeps_uv_from_its_cache(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert variables_for_lack_of_a_home({"HOME": str(file)}) == {"UV_NO_CACHE": "1"}


@pytest.mark.parametrize("variable", ["UV_CACHE_DIR", "UV_NO_CACHE"])
def test_who_says_what_uv_is_to_do_is_obeyed(variable: str) -> None:
    assert variables_for_lack_of_a_home({"HOME": "/dev/null", variable: "1"}) == {}


def test_a_cache_folder_of_its_own_needs_no_home(tmp_path: Path) -> None:
    assert variables_for_lack_of_a_home({"HOME": "/dev/null", "XDG_CACHE_HOME": str(tmp_path)}) == {}


def test_where_nobody_knows_a_home_one_is_named_that_others_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without passwd entry

    added = variables_for_lack_of_a_home({"XDG_CACHE_HOME": str(tmp_path)})

    assert added == {"HOME": "/"}
