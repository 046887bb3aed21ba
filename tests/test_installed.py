"""What a test does where something is missing that it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.installed import a_browser


@pytest.mark.parametrize(
    ("is_ci", "outcome", "words"),
    [
        pytest.param(True, FileNotFoundError, "python -m tools.browser installs them", id="fails-in-CI"),
        pytest.param(False, pytest.skip.Exception, "make test could not install them", id="is-skipped-elsewhere"),
    ],
)
def test_a_test_without_a_browser(
    is_ci: bool, outcome: type[BaseException], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.installed.IS_CI", is_ci)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(outcome, match=words), a_browser(tmp_path):
        pass


def test_no_other_place_decides() -> None:
    own_way = re.compile(r"from tools\.browser import [^\n]*\b(?:is_there|started)\b|webdriver\.Chrome\(")
    tests = Path(__file__).parent

    assert [file for file in tests.rglob("*.py") if own_way.search(file.read_text(encoding="utf-8"))] == []
