"""The fields that Airflow renders: those of all that a command is, and those of a user's own class."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.operators.local import DbtRunLocalOperator, DbtSeedLocalOperator
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from tests.kit import operator_arguments


class Loading(DbtRunLocalOperator):
    """An operator with a field more, added as Airflow's documentation adds one."""

    template_fields = (*DbtRunLocalOperator.template_fields, "bucket")
    bucket = ""


class LoadingMore(Loading):
    """Says nothing of its own."""


class Quiet(DbtRunLocalOperator):
    """Renders booleans of the operator and one of its own."""

    template_fields = (*DbtRunLocalOperator.template_fields, "quiet", "copy_dbt_packages", "is_large")
    is_large = True


class Plain(DbtSeedLocalOperator):
    """Renders less."""

    template_fields = ("vars",)


def test_a_virtualenv_operator_has_the_fields_of_both_its_bases() -> None:
    fields = DbtRunVirtualenvOperator.template_fields

    assert {"select", "vars", "full_refresh", "install_deps", "virtualenv_dir"} <= set(fields)
    assert len(fields) == len(set(fields))


def test_what_a_users_class_declares_counts_for_it_and_for_its_subclasses() -> None:
    assert Loading.template_fields == (*DbtRunLocalOperator.template_fields, "bucket")
    assert LoadingMore.template_fields == Loading.template_fields
    assert Plain.template_fields == ("vars",)


@pytest.mark.parametrize(("text", "expected"), [("False", False), (" true ", True), ("", False)])
def test_a_boolean_that_a_template_rendered_to_is_read_as_one(dbt_project: Path, text: str, expected: bool) -> None:
    given = dict.fromkeys(("emit_datasets", "quiet", "install_deps", "copy_dbt_packages"), text)
    operator = Quiet(**operator_arguments(dbt_project, **given))
    vars(operator)["is_large"] = text

    operator.pre_execute({})

    assert {name: getattr(operator, name) for name in (*given, "is_large")} == dict.fromkeys(
        (*given, "is_large"), expected
    )
    assert operator.state is None
