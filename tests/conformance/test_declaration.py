"""What an adapter declares comes from a process of its own, and is checked before anybody acts on it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.conformance.adapter import Adapter, AdapterError
from pytest_cosmos_venv.conformance.cosmos_layout import CosmosLayout
from pytest_cosmos_venv.conformance.declaration import ask_for_declarations, read_declaration, told_by
from tests.pytest_cosmos_venv.inner_run import write_distribution


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that processes import from."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_implementation_is_described_without_being_imported_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    before = set(sys.modules)

    (answer,) = ask_for_declarations(["tiny.adapter:TinyAdapter"])

    found = read_declaration(answer, ())

    assert (found.named, found.import_root, found.kind) == (
        "tiny.adapter:TinyAdapter",
        "tiny",
        "TinyAdapter",
    )
    assert found.profiles == frozenset({"core"})
    assert "command_build" in found.has
    assert found.modules == ("tiny",)
    assert [name for name in set(sys.modules) - before if name.startswith("tiny")] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("import os; os._exit(0)", "ended by itself with 0 before it answered", id="leaves"),
        pytest.param("import sys; sys.exit()", "ended by itself with 0 before it answered", id="exits"),
        pytest.param("print('a gull cries'); import os; os._exit(3)", r"with 3 before .*\n.*a gull cries", id="words"),
        pytest.param("import no_such_pier", "No module named 'no_such_pier'", id="breaks"),
    ],
)
def test_a_process_that_ends_at_the_import_is_told(package: Path, text: str, words: str) -> None:
    (package / "rude_adapter.py").write_text(text + "\n", encoding="utf-8")

    with pytest.raises(AdapterError, match=f"(?s)--cosmos-implementation=rude_adapter:Mine: .*{words}"):
        read_declaration(ask_for_declarations(["rude_adapter:Mine"])[0], ())


def test_a_service_that_hides_leaks_is_told_by_the_entry_point_that_declares_it(package: Path) -> None:
    (package / "harbor_services.py").write_text("NAMES = 'p*'", encoding="utf-8")
    write_distribution(package, "some-services", "1.0", entry_points="[cosmos_services]\none = harbor_services:NAMES\n")

    (answer,) = ask_for_declarations(["harbor_services"])

    with pytest.raises(AdapterError, match=r"or an entry point of the group cosmos_services, names 'p\*', which fits"):
        read_declaration(answer, ())


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("*/bin/dbt *", id="dbt"),
        pytest.param("* pip install *", id="uv"),
        pytest.param("dbt ?*", id="dbt-on-the-path"),
    ],
)
def test_no_service_is_named_by_what_a_command_line_of_dbt_or_an_installer_has(pattern: str) -> None:
    told = json.loads(json.dumps(told_by(Adapter("cosmos"), "1.0")))

    with pytest.raises(AdapterError, match="and what was left behind would be hidden"):
        read_declaration({**told, "services": [pattern]}, ())


def test_profiles_of_dags_are_for_adapters_that_build_them() -> None:
    told = json.loads(json.dumps(told_by(Adapter("cosmos"), "1.0")))
    profiles = ["locks", "machines", "seeds", "dags"]

    with pytest.raises(AdapterError, match=r"^Adapter.profiles names dags, seeds, .* derive Adapter from CosmosLayout"):
        read_declaration({**told, "profiles": profiles}, ())

    assert read_declaration({**told, "profiles": profiles[:2]}, ()).profiles == {"core", "locks", "machines"}
    assert "dags" in read_declaration(json.loads(json.dumps(told_by(CosmosLayout("cosmos"), "1.0"))), ()).profiles


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("modules = ('mine',)", "TypeError: 'tuple' object is not callable", id="tuple"),
        pytest.param("def has(self): ...", "TypeError: 'method' object is not iterable", id="method"),
        pytest.param("def modules(self): 1 / 0", "ZeroDivisionError: ", id="raises"),
    ],
)
def test_an_adapter_of_another_form_is_told_in_a_sentence(package: Path, body: str, words: str) -> None:
    text = f"from {Adapter.__module__} import Adapter\nclass Mine(Adapter):\n    import_root = 'json'\n    {body}\n"
    (package / "formless_adapter.py").write_text(text, encoding="utf-8")

    with pytest.raises(AdapterError, match=f"^formless_adapter:Mine cannot be asked what it declares: {words}") as told:
        read_declaration(ask_for_declarations(["formless_adapter:Mine"])[0], ())

    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(["cosmos"], "has answered nonsense", id="a-list"),
        pytest.param({"has": {"deps": 1}}, "has is {'deps': 1}: give a set of texts", id="no-set"),
        pytest.param({"beyond": [7]}, "beyond is .7.: give a set of texts", id="no-texts"),
        pytest.param({"differs": []}, "differs is no mapping", id="no-mapping"),
        pytest.param({"services": ["pier\n12 passed"]}, "give a set of texts", id="a-line-of-its-own"),
        pytest.param({"version": "1.0\x1b[2J"}, "version is '1.0.x1b.2J': give one line", id="moves-the-cursor"),
        pytest.param({"services": ["python*"]}, "fits 'python' too", id="hides-leaks"),
        pytest.param({"refused": "No pier here."}, "No pier here.", id="refused"),
    ],
)
def test_an_answer_is_not_trusted(answer: Any, words: str) -> None:
    told = json.loads(json.dumps(told_by(Adapter("cosmos"), "1.0")))

    with pytest.raises(AdapterError, match=words):
        read_declaration({**told, **answer} if isinstance(answer, dict) else answer, ())
