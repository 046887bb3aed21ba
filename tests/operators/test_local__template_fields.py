"""The fields that Airflow renders: those of all that a command is, and those of a user's own class."""

from __future__ import annotations

from cosmos_venv.operators.local import DbtRunLocalOperator, DbtSeedLocalOperator
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator


class Loading(DbtRunLocalOperator):
    """An operator with a field more, added as Airflow's documentation adds one."""

    template_fields = (*DbtRunLocalOperator.template_fields, "bucket")
    bucket = ""


class LoadingMore(Loading):
    """Says nothing of its own."""


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
