"""API: the classes, parameters and errors that the documentation names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from . import process
from .adapter import OPERATOR_CLASSES, Adapter, open_adapter
from .bench import Bench
from .requirements import requirement
from .runs import is_below, ran

BASE = "DbtVirtualenvBaseOperator"
DEFAULTS = {
    "py_requirements": None,
    "pip_install_options": None,
    "py_system_site_packages": False,
    "virtualenv_dir": None,
    "is_virtualenv_dir_temporary": False,
}

METHODS = {
    "run_subprocess": ["command", "env", "cwd"],
    "run_command": ["cmd", "env", "context"],
    "clean_dir_if_temporary": [],
    "execute": ["context"],
    "on_kill": [],
}
"""Name -> its first parameters."""


@pytest.fixture
def classes(bench: Bench) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = bench.ask("operator_classes")
    return found


@requirement("API-001")
@pytest.mark.parametrize("name", OPERATOR_CLASSES.values())
def test_each_operator_is_a_virtualenv_operator_and_a_local_one(
    classes: dict[str, dict[str, list[str]]], name: str
) -> None:
    assert name in classes, f"operators.virtualenv must have {name}; it has {', '.join(classes)}"
    ancestors = [each.rpartition(".")[2] for each in classes[name]["ancestors"]]

    for expected in (BASE, name.replace("Virtualenv", "Local"), "DbtLocalBaseOperator"):
        assert expected in ancestors, f"{name} must be a {expected}; its ancestors are {', '.join(ancestors)}"


@requirement("API-002")
def test_the_base_class_takes_the_documented_parameters(bench: Bench) -> None:
    defaults = bench.ask("base_signature")

    own = {name: value for name, value in defaults.items() if name in DEFAULTS}
    assert list(own.items()) == list(DEFAULTS.items()), f"{BASE} must take {DEFAULTS}, in this order; seen: {own}"


@requirement("API-002")
def test_a_directory_may_be_a_path(bench: Bench) -> None:  # a text it is everywhere else
    place = Path(bench.shared_directory)

    call = ran(bench, bench.task(virtualenv_dir=place))

    assert is_below(call.prefix, place), f"dbt must run from virtualenv_dir={place!r}; seen: {call.prefix}"


@requirement("API-003")
def test_the_directory_is_a_template_in_every_operator(bench: Bench, classes: dict[str, dict[str, list[str]]]) -> None:
    assert BASE in classes, f"operators.virtualenv must have {BASE}; it has {', '.join(classes)}"
    inherited = bench.ask("local_base_template_fields")
    own = ["virtualenv_dir", "is_virtualenv_dir_temporary"]

    fields = classes[BASE]["template_fields"]
    assert fields == [*inherited, *own], (
        f"template_fields of {BASE} must be those of its local base and {own}; seen: {fields}, inherited: {inherited}"
    )
    without = {
        name: missing
        for name, each in classes.items()
        if (missing := [field for field in fields if field not in each["template_fields"]])
    }
    assert not without, f"every operator must have the template fields of {BASE}; seen operators that lack: {without}"


@requirement("API-004")
@pytest.mark.parametrize("given", [{}, {"invocation_mode": "dbt_runner"}], ids=["by-default", "dbt-runner"])
def test_an_operator_runs_dbt_as_a_process_of_its_own(bench: Bench, given: dict[str, Any]) -> None:
    task = bench.task(**given)

    seen = bench.ask("attributes_of", task=task, names=["invocation_mode"])

    assert "SUBPROCESS" in seen["invocation_mode"].upper(), f"invocation_mode must be SUBPROCESS; seen: {seen}"


@requirement("API-006")
@pytest.mark.parametrize("method", ["_is_lock_available", "_acquire_venv_lock", "_release_venv_lock"])
def test_a_lock_needs_a_directory(bench: Bench, method: str) -> None:
    error = bench.ask("error_of_method", task=bench.task(), method=method)

    kinds = error["kinds"] if error else []
    assert "CosmosValueError" in kinds, f"{method} without virtualenv_dir must raise CosmosValueError; seen: {error}"


@requirement("API-009")
def test_the_base_class_has_the_documented_methods(bench: Bench) -> None:
    seen = bench.ask("base_methods", names=list(METHODS))

    missing = [name for name in METHODS if name not in seen]
    assert not missing, f"{BASE} must have the methods {', '.join(METHODS)}; seen: {', '.join(seen)}"
    for name, parameters in METHODS.items():
        first = seen[name][: len(parameters)]
        assert first == parameters, f"{BASE}.{name} must take {parameters}, in this order; seen: {seen[name]}"


@requirement("API-010")
def test_the_retries_of_the_lock_are_a_setting_of_airflow(adapter: Adapter, tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").write_text("[cosmos]\nvirtualenv_max_retries_lock = 7\n", encoding="utf-8")
    opened = f"from {open_adapter.__module__} import open_adapter; opened = open_adapter({adapter.named!r})"
    code = f"{opened}; print('seen:', repr(opened.settings().virtualenv_max_retries_lock))"
    home = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONFIG": str(tmp_path / "airflow.cfg")}

    finished = process.run([sys.executable, "-c", code], environment=home, cwd=tmp_path)

    assert "seen: 7\n" in finished.output, (
        f"settings.virtualenv_max_retries_lock must be the int 7 that [cosmos] says in airflow.cfg; seen: {finished}"
    )
