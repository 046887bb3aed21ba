"""The pictures for the documents are taken of what is kept, and are as large as they say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.installed import a_browser
from tools import pictures


@pytest.mark.long
@pytest.mark.timeout(180)
def test_each_picture_shows_its_page_from_the_top_with_a_requirement_unfolded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)

    with a_browser(tmp_path / "profile") as browser:
        for picture in pictures.PICTURES:
            image = pictures.take(browser, picture, tmp_path)

            width, _ = struct.unpack(">II", image.read_bytes()[16:24])
            assert width == pictures.WIDTH
            assert browser.execute_script("return scrollY") == 0
            unfolded = browser.find_element("css selector", f"#{picture.unfolded}[open] .finding")
            assert unfolded.rect["y"] < picture.height - 150
