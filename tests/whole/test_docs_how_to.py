"""Each block of the how-to guides can be what it says: commands, settings, files and log lines that there are."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from packaging.version import Version

from cosmos_venv.cli import _parser
from cosmos_venv.compat import AIRFLOW_VERSION
from cosmos_venv.settings.table import SETTINGS
from tests.installed import ROOT

FOLDER = ROOT / "docs" / "how-to"
PAGES = [
    *sorted((FOLDER / "deploying").glob("*.md")),
    *sorted((FOLDER / "operating").glob("*.md")),
    FOLDER / "dags" / "microbatch-and-backfill.md",
]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
OTHERS = {"docker", "kubectl", "skopeo", "aws", "gcloud", "astro", "chmod", "df", "export", "git", "promtool"}
# The pages are for the newest Airflow where they show backfills and partitions.
HAS_PARTITIONS = Version(AIRFLOW_VERSION) >= Version("3.2")
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "USER"}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(FOLDER)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found["language"], textwrap.dedent(found["text"]))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def each(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", of(*languages), ids=str)


def test_each_block_has_a_language_that_is_looked_at() -> None:
    looked_at = {"bash", "dockerfile", "ini", "json", "python", "text", "yaml", "{toctree}"}

    assert [f"{block}: {block.language}" for block in BLOCKS if block.language not in looked_at] == []


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell's text, without what is substituted, assigned or piped on."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        words = words[1:] if words[:1] == ["time"] else words
        if words and not re.match(r"\w+=", words[0]):
            yield words


def refuse_what_is_no_command(words: list[str]) -> None:
    """Read the arguments of ``cosmos-venv`` and ``airflow`` with their own parsers."""
    if words[0] == "cosmos-venv":
        # There is no such folder here; the example has one of the same name.
        given = [word.replace("/opt/airflow/dags", "dags") for word in words[1:]]
        expanded = [path for word in given for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        _parser().parse_args(expanded)
    elif words[:2] == ["airflow", "celery"]:
        assert words[2:] == ["worker"]  # a command of a provider
    elif words[0] == "airflow" and (words[1] != "backfill" or HAS_PARTITIONS):
        get_parser().parse_args(words[1:])
    elif words[0] in ("pip", "pytest"):
        assert words[0] == "pytest" or words[1] in ("install", "download"), words
    else:
        assert words[0] in {"airflow", *OTHERS}, words


@each("bash")
def test_a_command_is_one(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples")

    for words in commands(block.text):
        try:
            refuse_what_is_no_command(words)
        except SystemExit:
            pytest.fail(f"{block}: {shlex.join(words)}")


@each("dockerfile")
def test_a_dockerfile_has_instructions(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples")

    for line in block.text.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        assert instruction in INSTRUCTIONS, line
        if instruction == "FROM":
            assert f"apache-airflow=={rest.partition(':')[2]}" in (ROOT / "README.md").read_text()
        if instruction == "RUN":
            refuse_what_is_no_command(shlex.split(re.sub(r"--mount=\S+", "", rest)))


def is_option(section: str, name: str) -> bool:
    """Whether Airflow or cosmos-venv has an option; sections of providers that are not installed here are known."""
    if section in ("cosmos_venv", "cosmos"):
        return name in SETTINGS
    known = {("kubernetes_executor", "pod_template_file")}
    return (section, name) in known or name in conf.configuration_description.get(section, {"options": {}})["options"]


@each("ini")
def test_a_setting_is_one(block: Block) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)

    # [global] is pip's
    named = [(section, name) for section in parser.sections() if section != "global" for name in parser[section]]
    assert [each for each in named if not is_option(*each)] == []
    of_pip = {"index-url", "extra-index-url", "no-index", "find-links", "cert", "proxy"}
    assert not parser.has_section("global") or {*parser["global"]} <= of_pip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_variable_of_a_setting_is_one(page: Path) -> None:
    named = re.findall(r"AIRFLOW__([A-Z]+(?:_[A-Z]+)*)__([A-Z]\w*)", page.read_text(encoding="utf-8"))
    dotted = re.findall(r"cosmos_venv[.-](\w+)", "".join(block.text for block in of("json", "bash")))

    assert [each for each in named if not is_option(each[0].lower(), each[1].lower())] == []
    assert [name for name in dotted if name not in SETTINGS and not name.startswith(("dbt", "seeds"))] == []


@each("yaml", "json")
def test_a_file_can_be_read(block: Block) -> None:
    assert json.loads(block.text) if block.language == "json" else list(yaml.safe_load_all(block.text))


@each("python")
def test_python_can_be_read_and_imports_what_there_is(block: Block) -> None:
    tree = ast.parse(block.text.replace("...,\n", "\n"))

    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module == "airflow.sdk" and not HAS_PARTITIONS:
                continue
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("folder", ["deploying", "operating"])
def test_the_index_names_each_page(folder: str) -> None:
    index = FOLDER / folder / "index.md"
    (tree,) = (block.text for block in blocks_of(index) if block.language == "{toctree}")
    named = [line for line in tree.splitlines() if not line.startswith(":")]

    pages = [page.stem for page in (FOLDER / folder).glob("*.md") if page != index]
    assert sorted(named) == sorted(pages)
    assert [name for name in named if f"({name}.md)" not in index.read_text()] == []


def pods() -> list[dict[str, Any]]:
    found = [yaml.safe_load(block.text) for block in of("yaml") if block.page.stem in ("kubernetes", "image-volume")]
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
@each("text")
def test_a_line_of_a_log_is_one_that_the_code_writes(block: Block) -> None:
    if block.page.parent.name == "deploying":
        return  # files: requirements, .netrc
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
