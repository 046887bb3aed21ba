"""Each block of code on a page is what its language wants, and names only what there is.

The id of a test is page and line. Blocks that are files of tests are run besides, by test_documentation, and blocks
that are DAGs by the tests of their pages.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from airflow.cli.cli_parser import get_parser as airflow_parser
from airflow.configuration import conf
from packaging.version import Version

import cosmos_venv
from cosmos_venv.compat import AIRFLOW_VERSION
from cosmos_venv.settings.table import SETTINGS
from tests.installed import ROOT
from tests.whole.page_blocks import PAGES, Block, blocks_of
from tools.site.commands_page import MAINS, parser_of

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

SECTIONS = ("cosmos", "cosmos_venv")
OTHER_SECTIONS = ("pytest", "global")  # of pytest.ini and pip.conf
OF_PROVIDERS = (("kubernetes_executor", "pod_template_file"),)
OURS = ("cosmos_venv", "pytest_cosmos_venv")
# Pages about backfills are for the newest Airflow.
HAS_BACKFILL = Version(AIRFLOW_VERSION) >= Version("3.2")
FIRST_DAG = ROOT / "docs" / "tutorials" / "first-dag.md"
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "ARG", "ENTRYPOINT", "CMD"}


def check_python(text: str) -> None:
    """It compiles, imports what there is, and calls it with parameters that it has."""
    tree = ast.parse(text)
    if text.startswith("# raises ImportError"):
        with pytest.raises(ImportError):
            exec(text, {})  # noqa: S102 - as a user copies it
        return
    # A page that goes on with an example leaves its imports out.
    imported: dict[str, Callable[..., object]] = {name: getattr(cosmos_venv, name) for name in cosmos_venv.__all__}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in OURS:
            module = importlib.import_module(node.module)
            imported |= {each.asname or each.name: getattr(module, each.name) for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
            check_call(imported[node.func.id], node)


def check_call(called: Callable[..., object], node: ast.Call) -> None:
    """The keywords of a call are parameters of what is called."""
    parameters = inspect.signature(called).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        unknown = [each.arg for each in node.keywords if each.arg and each.arg not in parameters]
        assert unknown == [], f"line {node.lineno}: {ast.unparse(node.func)} has no parameter {unknown}"


def check_ini(text: str) -> None:
    """Options of Airflow's configuration are options, ours and Airflow's; sections of other programs are theirs."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    named = [(section, name) for section in parser.sections() for name in parser[section]]
    assert [each for each in named if each[0] not in OTHER_SECTIONS and not is_option(*each)] == []


def is_option(section: str, name: str) -> bool:
    """Whether Airflow or cosmos-venv has an option; sections of providers that are not installed here are known."""
    if section in SECTIONS:
        return name in SETTINGS or name in (each.older_name for each in SETTINGS.values())
    options = conf.configuration_description.get(section, {"options": {}})["options"]
    return (section, name) in OF_PROVIDERS or name in options


def check_shell(text: str) -> None:
    """Bash can read it, and our commands take their words."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for words in commands_in(text):
        try:
            check_command(words)
        except SystemExit:
            pytest.fail(f"no command: {shlex.join(words)}")


def check_console(text: str) -> None:
    """What is typed behind ``$`` is a shell's; the rest is output."""
    check_shell("\n".join(re.findall(r"^[$>] (.*)$", text, re.MULTILINE)))


def check_dockerfile(text: str) -> None:
    """Each instruction is one, and what it runs is a shell's."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            assert instruction in INSTRUCTIONS, line
            if rest.startswith("apache/airflow:"):
                assert f"apache-airflow=={rest.partition(':')[2]}" in FIRST_DAG.read_text(encoding="utf-8")
            if instruction == "RUN":
                check_shell(re.sub(r"^(--\S+ +)*", "", rest))


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command, without variables that are set before it."""
    text = re.sub(r"^#.*$|(?<=\s)# .*$", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|()<>\n"):
            yield [*words]
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word)


def existing_path(word: str) -> str:
    """A path that a page names, as one that is there: the parser looks whether it is."""
    if word.startswith("-") or "://" in word or not ("/" in word or word == "dags"):
        return word
    path = Path("here", word.lstrip("/"))
    folder = path.parent if path.suffix else path
    folder.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.touch()
    return str(path)


def check_command(words: list[str]) -> None:
    """Commands of this project exist as they are called."""
    match words:
        case [name, *rest] if name in MAINS and "--help" not in rest:
            parser_of(name, MAINS[name]).parse_args([existing_path(word) for word in rest])
        case ["airflow", "celery", *rest]:
            assert rest == ["worker"]  # a command of a provider
        case ["airflow", *rest] if rest[0] != "backfill" or HAS_BACKFILL:
            airflow_parser().parse_args(rest)
        case ["make", *targets]:
            there = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert [each for each in targets if "=" not in each and each not in there] == []
        case ["pytest", *rest] | ["python", "-m", "pytest", *rest]:
            named = {each.partition("=")[0] for each in rest if each.startswith("--cosmos-")}
            assert named <= pytest_options()


@cache
def pytest_options() -> frozenset[str]:
    """All options of the toolkit and the suite, as pytest itself lists them."""
    shown = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True)
    return frozenset(re.findall(r"^ +(--cosmos-[a-z-]+)", shown.stdout, re.MULTILINE))


CHECKS: dict[str, Callable[[str], object]] = {
    "python": check_python,
    "ini": check_ini,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "json": json.loads,
    "bash": check_shell,
    "console": check_console,
    "dockerfile": check_dockerfile,
}
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in CHECKS], ids=str)
def test_a_block_is_what_its_language_wants(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    CHECKS[block.language](block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_variable_of_a_setting_is_one(page: Path) -> None:
    named = re.findall(r"AIRFLOW__([A-Z]+(?:_[A-Z]+)*)__([A-Z]\w*)", page.read_text(encoding="utf-8"))

    assert [each for each in named if not is_option(each[0].lower(), each[1].lower())] == []
