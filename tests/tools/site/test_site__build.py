"""The site is built without a warning, and not at all where something has no entry in the reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools.site.built_site import build, needs_sphinx

pytestmark = [pytest.mark.long, needs_sphinx]
SILENCED = """
import ast
from dataclasses import replace
from cosmos_venv import ProjectConfig
from cosmos_venv.cli import doctor
from cosmos_venv.settings.table import SETTINGS
from tools.site import generated, toolkit_page

SETTINGS["cache_dir"] = replace(SETTINGS["cache_dir"], meaning="")
ProjectConfig.__doc__ = ProjectConfig.__doc__.replace(":param manifest_path:", ":param manifest:")
add = doctor.add_to
def add_to(subjects):
    add(subjects)
    subjects.choices["doctor"].add_argument("--silent")
doctor.add_to = add_to
read = ast.get_docstring
ast.get_docstring = lambda node: None if node.name == "cosmos_clock" else read(node)
"""


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = build(tmp_path / "site")

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert (tmp_path / "site" / "index.html").is_file()


def test_nothing_is_built_where_something_has_no_entry(tmp_path: Path) -> None:
    done = build(tmp_path / "site", before=SILENCED)

    assert done.returncode == 1
    assert re.findall(r"docs/reference/([\w-]+)\.md:\d+: WARNING: (.* has no .*)", done.stderr) == [
        ("command-line", "--silent of the command cosmos-venv doctor has no help"),
        ("configs", "the parameter manifest_path of ProjectConfig has no sentence"),
        ("fixtures", "the fixture cosmos_clock has no docstring"),
        ("settings", "the setting cache_dir has no meaning"),
    ]


def test_what_leads_nowhere_is_a_warning(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    (pages / "tutorials").mkdir(parents=True)
    conf = Path(__file__).resolve().parents[3] / "docs" / "conf.py"
    (pages / "conf.py").write_text(conf.read_text(encoding="utf-8").replace("__file__", repr(str(conf))))
    (pages / "_static").symlink_to(conf.parent / "_static")
    (pages / "index.md").write_text("# Index\n\n```{toctree}\ntutorials/one\n```\n")
    (pages / "tutorials" / "one.md").write_text(
        "# One\n\n[a](nowhere.md)\n[a](../index.md#no-such)\n{measured}`no-figure`\n"
    )

    done = build(tmp_path / "site", pages=pages)

    assert done.returncode == 1
    assert (
        len(re.findall(r"one\.md:\d+: WARNING: .*(nowhere\.md|no-such|no measured figure 'no-figure')", done.stderr))
        == 3
    )
