"""The version of Airflow that is installed here, by its metadata: nothing is imported."""

from __future__ import annotations

from importlib import metadata

# Airflow 3 can be installed by its parts, without the distribution that names them all.
_DISTRIBUTIONS = ("apache-airflow-core", "apache-airflow")


def installed_airflow() -> str | None:
    """Return the version of Airflow, such as ``3.1.0``; None where there is none."""
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
