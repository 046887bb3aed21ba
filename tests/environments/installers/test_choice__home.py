"""Tests of the words to an installer where there is no home or cache for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.installers.choice import home_variables


def test_an_ordinary_user_is_given_nothing_and_nothing_is_made(tmp_path: Path) -> None:
    added = home_variables({"HOME": str(tmp_path)})

    assert added == {}
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_no_directory_keeps_uv_from_its_cache(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert home_variables({"HOME": str(file)}) == {"UV_NO_CACHE": "1"}


@pytest.mark.parametrize("variable", ["UV_CACHE_DIR", "UV_NO_CACHE"])
def test_who_says_what_uv_is_to_do_is_obeyed(variable: str) -> None:
    assert home_variables({"HOME": "/dev/null", variable: "1"}) == {}


def test_a_cache_folder_of_its_own_needs_no_home(tmp_path: Path) -> None:
    assert home_variables({"HOME": "/dev/null", "XDG_CACHE_HOME": str(tmp_path)}) == {}


def test_where_nobody_knows_a_home_one_is_named_that_others_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without passwd entry

    added = home_variables({"XDG_CACHE_HOME": str(tmp_path)})

    assert added == {"HOME": "/"}
