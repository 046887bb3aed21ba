"""Tests of the words to an installer where there is no home or cache for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.installers.choice import home_variables


@pytest.mark.parametrize(
    ("variables", "added"),
    [
        pytest.param({"HOME": "{folder}"}, {}, id="an-ordinary-user"),
        pytest.param({"HOME": __file__}, {"UV_NO_CACHE": "1"}, id="a-home-that-is-no-directory"),
        pytest.param({"HOME": "/dev/null", "UV_CACHE_DIR": "1"}, {}, id="uv-has-a-cache"),
        pytest.param({"HOME": "/dev/null", "UV_NO_CACHE": "1"}, {}, id="uv-is-to-have-none"),
        pytest.param({"HOME": "/dev/null", "XDG_CACHE_HOME": "{folder}"}, {}, id="a-cache-folder-needs-no-home"),
    ],
)
def test_uv_is_kept_from_its_cache_only_where_nobody_has_one_and_nothing_is_made(
    tmp_path: Path, variables: dict[str, str], added: dict[str, str]
) -> None:
    given = {name: value.format(folder=tmp_path) for name, value in variables.items()}

    assert home_variables(given) == added
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_knows_a_home_one_is_named_that_others_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without passwd entry

    added = home_variables({"XDG_CACHE_HOME": str(tmp_path)})

    assert added == {"HOME": "/"}
