"""The how-to guides about deploying and operating: pods, log lines and indexes are as they say."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_venv.settings.table import SETTINGS
from tests.installed import ROOT
from tests.whole.page_blocks import Block, blocks_of

FOLDER = ROOT / "docs" / "how-to"
FOLDERS = ("deploying", "operating")
PAGES = [page for folder in FOLDERS for page in sorted((FOLDER / folder).glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
# Blocks of text on the other pages are files: requirements, .netrc.
LOGS = [block for block in BLOCKS if block.page.parent.name == "operating" and block.language == "text"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_setting_with_a_dot_is_one(page: Path) -> None:
    """As MWAA and Composer write them."""
    text = "".join(block.text for block in blocks_of(page) if block.language in ("json", "bash"))
    dotted = re.findall(r"cosmos_venv[.-](\w+)", text)

    assert [name for name in dotted if name not in SETTINGS and not name.startswith(("dbt", "seeds"))] == []


def pods() -> list[dict[str, Any]]:
    manifests = [
        block for block in BLOCKS if block.page.stem in ("kubernetes", "image-volume") and block.language == "yaml"
    ]
    found = [yaml.safe_load(block.text) for block in manifests]
    return [pod for pod in found if "spec" in pod]


def test_a_pod_mounts_what_it_declares() -> None:
    assert len(pods()) == 2
    for pod in pods():
        (container,) = pod["spec"]["containers"]

        # Airflow gives its own image and command to the container of this name.
        assert container["name"] == "base"
        assert all(isinstance(each["value"], str) for each in container["env"])
        assert [each["name"] for each in container["volumeMounts"]] == [each["name"] for each in pod["spec"]["volumes"]]


def test_the_key_of_a_pod_is_one_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cosmos_venv.managed.signing_key import signing_key

    template = next(pod for pod in pods() if "securityContext" in pod["spec"])
    (volume,) = template["spec"]["volumes"]
    file = tmp_path / "key"
    file.write_text("an-example-key-of-24-bytes")
    file.chmod(volume["secret"]["defaultMode"])
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(file))

    assert signing_key() == file.read_bytes()
    assert Path(template["spec"]["containers"][0]["env"][1]["value"]).name == "key"


@cache
def texts_of_the_code() -> list[list[str]]:
    """Every text in the code, cut where something is put in."""
    found = []
    for path in sorted((ROOT / "cosmos_venv").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                marked = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                found.append("".join("\0" if part is None else str(part) for part in marked).split("\0"))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                found.append(re.split(r"%(?:\.\d)?[sdrf]", node.value))
    return [parts for parts in found if len("".join(parts)) > 12]


def is_of_the_code(line: str) -> bool:
    """Whether a text of the code becomes this line."""
    return any(
        re.fullmatch(".*".join(map(re.escape, parts)), line)
        for parts in texts_of_the_code()
        if all(part in line for part in parts)
    )


@pytest.mark.long
@pytest.mark.parametrize("block", LOGS, ids=str)
def test_a_line_of_a_log_is_one_that_the_code_writes(block: Block) -> None:
    unknown = [
        line
        # ``env verify`` puts the line about the lock into brackets.
        for line in re.sub(r"(?m)^lock: held \((.*)\)$", r"\1", block.text).splitlines()
        if line.strip() and not is_of_the_code(line)
    ]

    assert unknown == [], "the code has no such text"


@pytest.mark.long
def test_what_a_reader_looks_for_in_a_log_is_in_one() -> None:
    page = FOLDER / "operating" / "debugging.md"
    first_cells = re.findall(r"(?m)^\| ([^|]+) \|", page.read_text(encoding="utf-8"))
    looked_for = {words for cell in first_cells for words in re.findall(r"`([^`]+ [^`]+)`", cell)} - {"server status"}
    shown = "\n".join(block.text for block in blocks_of(page) if block.language == "text")

    unknown = {
        words
        for words in looked_for
        if words not in shown and not any(words in part for parts in texts_of_the_code() for part in parts)
    }
    assert len(looked_for) > 8
    assert unknown == set()
