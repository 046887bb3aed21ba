"""The words of an installation are read as the parsers of pip and uv themselves read them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.environments import requirement_files

# Not the help text: it leaves out second spellings and what is deprecated.
ASK_PIP = """
import json
from pip._internal.commands import create_command
found = create_command("install").parser.option_list_all
print(json.dumps([[name, option.takes_value()] for option in found for name in option._short_opts + option._long_opts]))
"""
_OPTION_OF_UV = re.compile(r"^ +(?:(-\w), )?(--[\w-]+)(?:\.\.\.)?( <\w+>)?", re.MULTILINE)


def takes_value_in_pip() -> dict[str, bool]:
    asked = subprocess.run([sys.executable, "-c", ASK_PIP], capture_output=True, text=True, check=False)
    if "No module named 'pip'" in asked.stderr:
        pytest.skip("this Python has no pip")
    assert asked.returncode == 0, asked.stderr
    return dict(json.loads(asked.stdout))


def takes_value_in_uv() -> dict[str, bool]:
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
    if uv is None:
        pytest.skip("there is no uv")
    command = [uv, "pip", "install", "--help", "--color", "never"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "400"})
    found = _OPTION_OF_UV.findall(text.stdout)
    return {name: bool(value) for short, long, value in found for name in (short, long) if name}


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_an_option_takes_the_next_word_where_the_tool_says_so(tool: str) -> None:
    known = takes_value_in_pip() if tool == "pip" else takes_value_in_uv()

    read = {name: next(requirement_files.parse([name, "next"])).value == "next" for name in known}

    assert len(known) > 50
    assert {name: known[name] for name in known if read[name] != known[name]} == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["-iU"], [("--index-url", "U")], id="attached"),
        pytest.param(["-r requirements.txt"], [("--requirement", "requirements.txt")], id="one-word"),
        pytest.param(["--index-url=U"], [("--index-url", "U")], id="equals"),
        pytest.param(["-U", "hello"], [("--upgrade", None), ("", "hello")], id="switch-then-name"),
        pytest.param(["-qq"], [("--quiet", None), ("--quiet", None)], id="switch-twice"),
        pytest.param(["-Ur", "x"], [("--upgrade", None), ("--requirement", "x")], id="switch-and-short-in-one-word"),
        pytest.param(["-UiU"], [("--upgrade", None), ("--index-url", "U")], id="switch-and-attached"),
        pytest.param(["--no-dependencies", "hello"], [("--no-deps", None), ("", "hello")], id="second-spelling"),
        pytest.param(["--find-links"], [("--find-links", None)], id="value-forgotten"),
    ],
)
def test_options_are_read_in_every_way_pip_lets_one_write_them(
    words: list[str], expected: list[tuple[str, str | None]]
) -> None:
    assert [(option.name, option.value) for option in requirement_files.parse(words)] == expected
