"""The page docs/how-to/environments/more-machines.md is as it says."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from cosmos_venv.settings.table import SETTINGS
from tests.whole.page_blocks import blocks_in

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "environments" / "more-machines.md").read_text(encoding="utf-8")
SWITCHES = re.findall(r"(?m)^\| `(remote_\w+)` \| .+? \|", PAGE)


@pytest.mark.parametrize("name", sorted(name for name in SETTINGS if name.startswith("remote_")))
def test_each_setting_about_remote_things_is_named(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE) or name in (
        "remote_target_path",
        "remote_target_path_conn_id",
        "remote_cache_dir_conn_id",
    )


def test_what_is_off_by_default_is_so() -> None:
    assert SWITCHES
    assert [name for name in SWITCHES if SETTINGS[name].default is not False] == []


def test_the_settings_of_its_example_exist() -> None:
    (ini,) = blocks_in(PAGE, "ini")
    parser = configparser.ConfigParser()
    parser.read_string(ini)

    assert [name for name in parser["cosmos_venv"] if name not in SETTINGS] == []
