"""API: the classes, parameters and errors that the documentation names."""

from __future__ import annotations

import pytest

from .adapter import OPERATOR_CLASSES
from .bench import Bench
from .requirements import requirement

BASE = "DbtVirtualenvBaseOperator"
DEFAULTS = {
    "py_requirements": None,
    "pip_install_options": None,
    "py_system_site_packages": False,
    "virtualenv_dir": None,
    "is_virtualenv_dir_temporary": False,
}


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


@requirement("API-004")
def test_an_operator_runs_dbt_as_a_process_of_its_own(bench: Bench) -> None:
    task = bench.task(invocation_mode="dbt_runner")

    seen = bench.ask("attributes_of", task=task, names=["invocation_mode"])

    assert "SUBPROCESS" in seen["invocation_mode"].upper(), f"invocation_mode must be SUBPROCESS; seen: {seen}"
