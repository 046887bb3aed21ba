"""Pictures of Airflow's pages are taken once the page shows what they are for, and not at all where it does not."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.http_server import QuietFiles, served
from tests.installed import ROOT
from tools import dag_pictures
from tools.dag_pictures import Pictures

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

PAGE = """<button onclick="setTimeout(() => document.body.append('9 Task Instances'), 100)">Trigger</button>"""


@pytest.fixture
def pictures(browser: WebDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pictures]:
    """Of a page that shows words a moment after its button is clicked, in the place of Airflow's."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "run.html").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(dag_pictures, "IMAGES", tmp_path)
    with served(partial(QuietFiles, directory=str(site))) as port:
        airflow = SimpleNamespace(airflow=SimpleNamespace(variables={"AIRFLOW__API__PORT": str(port)}))
        yield Pictures(browser, cast("Any", airflow))


@pytest.mark.long
def test_a_picture_is_taken_once_the_page_shows_its_words(pictures: Pictures, tmp_path: Path) -> None:
    pictures.take("run.png", "/run.html", "9 Task Instances", size=(800, 400), click="Trigger")

    width, _ = struct.unpack(">II", (tmp_path / "run.png").read_bytes()[16:24])
    assert width == 800


@pytest.mark.long
@pytest.mark.parametrize("page", ["/run.html", "/gone.html"])
def test_a_page_without_its_words_gives_no_picture(
    page: str, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dag_pictures, "DEADLINE", 0.5)

    with pytest.raises(TimeoutError, match="9 Task Instances: not within"):
        pictures.take("run.png", page, "9 Task Instances", size=(800, 400))

    assert not (tmp_path / "run.png").exists()


def test_make_pictures_takes_each_picture_that_there_is() -> None:
    (recipe,) = re.findall(r"(?m)^pictures:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    modules = [ROOT / "tools" / f"{name}.py" for name in re.findall(r"-m tools\.(\w+)", recipe)]
    sources = recipe + "".join(module.read_text(encoding="utf-8") for module in modules)

    pictures = [picture.name for picture in (ROOT / "docs" / "images").iterdir()]
    assert [name for name in pictures if name not in sources and f'name="{Path(name).stem}"' not in sources] == []
