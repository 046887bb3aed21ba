"""The implementation that is chosen, and what is said when none can be."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cosmos_venv import Implementation
from pytest_cosmos_venv.implementation import (
    ImplementationError,
    declared_services,
    describe_choice,
    find_implementation,
    only_one,
)
from tests.pytest_cosmos_venv.inner_run import write_distribution


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        pytest.param(
            ["cosmos", "cosmos_venv"], "(cosmos, cosmos_venv): say which one with --cosmos-implement", id="two"
        ),
        pytest.param([], "install astronomer-cosmos (cosmos) or cosmos-venv (cosmos_venv)", id="none"),
    ],
)
def test_where_not_just_one_is_installed_the_error_says_what_to_do(installed: list[str], words: str) -> None:
    with pytest.raises(ImplementationError, match=re.escape(words)):
        only_one(installed)


def test_a_named_one_is_taken_with_the_version_of_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_implementation"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported to be found')", encoding="utf-8")
    write_distribution(tmp_path, "some-distribution", "3.1", top_level="some_implementation\n")
    monkeypatch.syspath_prepend(tmp_path)

    found = find_implementation("some_implementation")

    assert found == Implementation(import_root="some_implementation", version="3.1")


@pytest.mark.parametrize("named", ["no_such_package", "no_such_package.below"])
def test_a_named_one_that_is_not_there_is_an_error_that_names_it(named: str) -> None:
    with pytest.raises(ImplementationError, match=f"--cosmos-implementation={named}: no package {named} can be"):
        find_implementation(named)


def test_a_choice_is_described_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cosmos").mkdir()
    (tmp_path / "cosmos" / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    write_distribution(tmp_path, "astronomer-cosmos", "1.15.1")

    assert describe_choice("cosmos") == "cosmos 1.15.1"
    assert describe_choice("no_such_package") == "no_such_package"
    assert describe_choice("module:Adapter") == "module:Adapter"


ADAPTERS = """
class Sound:
    import_root = "adapted"
    services = ("sounder",)

class Greedy:
    import_root = "adapted"
    def __init__(self, more):
        pass

class Rootless:
    pass

class Lost:
    import_root = "no_such_package"

class Versioned(Sound):
    version = "4.2"

class Scribbled:
    import_root = "../folder"

function = len
"""


@pytest.fixture
def adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of adapters, two that break, and the implementation that they are for."""
    breaking = {"breaking_adapters": "1 / 0\n", "lacking_adapters": "import no_such_dependency\n"}
    for name, text in {"adapted": "", "some_adapters": ADAPTERS, **breaking}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("adapted", "some_adapters"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_an_adapter_stands_for_its_implementation(adapters: None) -> None:
    found = find_implementation("some_adapters:Sound")

    assert (found.import_root, found.version) == ("adapted", "unknown")
    assert type(found.adapter()).__name__ == "Sound"
    assert found.module().__name__ == "adapted"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (":Adapter", "is no adapter: give module:Adapter, the class with its module"),
        ("no_such_module:Adapter", "Install it, or name its folder: PYTHONPATH=/its/folder."),
        ("breaking_adapters:Sound", "module breaking_adapters cannot be imported here (ZeroDivisionError: division"),
        ("lacking_adapters:Sound", "It is there: mend what keeps it from being imported."),
        ("some_adapters:Missing", "module some_adapters has no Missing"),
        ("some_adapters:Rootless", "Rootless has to be a class whose import_root is the package name of an"),
    ],
)
def test_what_is_no_adapter_is_refused_in_a_sentence(named: str, words: str, adapters: None) -> None:
    with pytest.raises(ImplementationError, match=f"^--cosmos-implementation={named}.*{re.escape(words)}"):
        find_implementation(named)


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a distribution with the packages ``harbor`` and ``pier`` declare services by these entry points."""
    for name in ("harbor", "pier"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("import sys; sys.modules[__name__].imported = True", "utf-8")
        (tmp_path / name / "server.py").write_text(f"ONE, MANY, WRONG = '{name}-s*', ('a', 'b'), 5", encoding="utf-8")
        for module in (name, f"{name}.server"):
            monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "some_adapters.py").write_text(ADAPTERS.replace('"adapted"', '"harbor"', 1), encoding="utf-8")
    monkeypatch.delitem(sys.modules, "some_adapters", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def declare(text: str) -> None:
        write_distribution(tmp_path, "some-distribution", "3.1", entry_points=f"[cosmos_services]\n{text}\n")

    return declare


def test_an_implementation_declares_its_services(declare: Callable[[str], None]) -> None:
    declare("one = harbor.server:ONE\nmany = harbor.server:MANY\nother = pier.server:ONE")

    assert declared_services("harbor") == ("harbor-s*", "a", "b")
    assert declared_services("pier") == ("pier-s*",)
    assert declared_services("harb") == ()
    assert {"harbor-s*", "pier-s*"} < set(declared_services(None)), "none is named: those of all count"


def test_an_adapter_declares_services_beside_its_implementation(declare: Callable[[str], None]) -> None:
    declare("one = harbor.server:ONE")

    assert declared_services("some_adapters:Sound") == ("harbor-s*", "sounder")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one = harbor.server:NONE", "one = harbor.server:NONE of the group cosmos_services cannot be loaded (Attr"),
        ("one = harbor.server:WRONG", "leads to 5: it has to be a pattern of names, or a list of them."),
    ],
)
def test_a_declaration_that_is_none_is_told_with_its_entry_point(
    declare: Callable[[str], None], text: str, words: str
) -> None:
    declare(text)

    with pytest.raises(ImplementationError, match=re.escape(words)):
        declared_services("harbor")
    assert declared_services("pier") == ()
