"""The tests on every Airflow with every Python. `nox` runs all of them, `nox -l` lists them."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True

MATRIX = [
    *((python, airflow) for airflow in ("2.10.*", "2.11.*", "3.0.*") for python in ("3.10", "3.11", "3.12")),
    *((python, airflow) for airflow in ("3.1.*", "3.2.*", "3.3.*") for python in ("3.10", "3.11", "3.12", "3.13")),
]
TOOLS = (
    "build", "duckdb", "editables", "freezegun", "hatchling", "hypothesis", "import-linter", "jsonschema",
    "pytest-cov", "pytest-timeout", "pytest-xdist", "responses", "uv",
)  # fmt: skip


@nox.session
@nox.parametrize(("python", "airflow"), MATRIX)
def tests(session: nox.Session, airflow: str) -> None:
    """The tests on one Airflow; what follows `--` goes to pytest."""
    session.install(f"apache-airflow=={airflow}", *TOOLS, "-e", ".", "-e", "./pytest_cosmos_venv")
    session.run("pytest", "-n", "auto", *session.posargs)
