"""The structure of the packages: imports that run one way, described fields, and tests beside their modules."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cosmos_venv", "pytest_cosmos_venv", "conformance")


@cache
def import_graph() -> grimp.ImportGraph:
    """Every import between files, those inside functions and under TYPE_CHECKING included."""
    return grimp.build_graph(*PACKAGES)


def sources(*folders: str) -> list[Path]:
    found = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders)
    # The toolkit reaches the suite by a link.
    return sorted(path for path in found if path.relative_to(ROOT).parts[:2] != ("pytest_cosmos_venv", "conformance"))


def test_no_files_import_each_other() -> None:
    graph = import_graph()
    sorter = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})

    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_benchmarks_know_nothing_of_the_tools() -> None:
    importers = [
        path.name
        for path in sources("benchmarks")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tools"
    ]

    assert importers == []


def is_of_fields(node: ast.ClassDef) -> bool:
    """Whether the class is a dataclass, a struct of msgspec or a named tuple."""
    words = [ast.unparse(each) for each in (*node.decorator_list, *node.bases)]
    return any(word in text for text in words for word in ("dataclass", "Struct", "NamedTuple"))


def fields_without_words(node: ast.ClassDef) -> list[str]:
    """Public fields that neither the docstring of the class nor a text below the field describes."""
    described = re.findall(r":(?:param|ivar) ([^:]+):", ast.get_docstring(node) or "")
    names = {name.strip() for each in described for name in each.split(",")}
    followers = [*node.body[1:], None]
    return [
        each.target.id
        for each, follower in zip(node.body, followers, strict=True)
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        if not each.target.id.startswith("_") and not ast.unparse(each.annotation).startswith("ClassVar")
        if each.target.id not in names
        if not (isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant))
    ]


def test_each_public_field_is_described() -> None:
    silent = {
        f"{path.relative_to(ROOT)}:{node.name}": fields
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and is_of_fields(node)
        if (fields := fields_without_words(node))
    }

    assert silent == {}


ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")


def names_defined_in(path: Path) -> set[str]:
    """What a file defines itself: ``function``, ``CONSTANT``, ``Class`` and ``Class.method``."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name in names_of(node):
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {name, *(f"{name}.{each}" for child in inner for each in names_of(child))}
    return found


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`([\w/]+\.py:[\w.]+)`", ARCHITECTURE))))
def test_a_function_stands_in_the_file_that_the_architecture_names(place: str) -> None:
    file, name = place.split(":")

    assert name in names_defined_in(ROOT / "cosmos_venv" / file)


def test_the_architecture_names_each_exploration_of_the_product() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*__explored.py")}

    assert set(re.findall(r"`(tests/[\w/]+__explored\.py)`", ARCHITECTURE)) == found


OF_NO_MODULE = {"whole", "deployed", "any_implementation", "packaging", "clouds"}
"""Folders of tests of the whole product."""
OF_THE_PROJECT = {
    "conftest",
    "engines",
    "floors",
    "glossary",
    "installed",
    "order",
    "postgres_server",
    "prepared",
    "structure",
}


def folder_tested_by(path: Path) -> Path:
    """The folder of the modules that a test file tests."""
    inner = path.parent.relative_to(ROOT / "tests")
    first = inner.parts[0] if inner.parts else ""
    return ROOT / inner if first in (*PACKAGES, "tools", "benchmarks") else ROOT / "cosmos_venv" / inner


def test_tests_are_found_by_the_name_of_their_module() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if "data" not in path.parts]
    strangers = []
    for path in files:
        module = path.stem.removeprefix("test_").partition("__")[0]
        folder = folder_tested_by(path)
        is_there = (folder / f"{module}.py").is_file() or (folder / module).is_dir() or module == folder.name
        is_whole = not OF_NO_MODULE.isdisjoint(path.parts)
        is_ours = path.parent == ROOT / "tests" and module in OF_THE_PROJECT
        if not (is_there or is_whole or is_ours):
            strangers.append(str(path.relative_to(ROOT)))

    assert strangers == []
