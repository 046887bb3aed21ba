"""Which DAGs does a file build? Airflow is asked, in a home of its own that is gone afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.dags.airflow_names import first_of
from pytest_cosmos_venv.throwaway import throwaway_folder

# Wins over what the user's own airflow.cfg says; what he set in the environment wins over these.
_DEFAULTS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # Otherwise Airflow tells what it does, between the lines of the diff.
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
}


class DagFileError(Exception):
    """A file could not be parsed. The text is Airflow's own."""


@contextmanager
def airflow_of_its_own(dags_folder: Path) -> Iterator[None]:
    """Point Airflow, which must not be imported yet, at an empty home.

    :param dags_folder: from which DAG files import each other.
    """
    with throwaway_folder("cosmos-dag-shape-") as home:
        os.environ["AIRFLOW_HOME"] = str(home)
        os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(dags_folder)
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        sys.path.insert(0, str(dags_folder))
        yield


def parse_dag_file(file: Path) -> list[Any]:
    """The DAGs of a file, in the order of their ids; none where it builds none.

    :raises DagFileError: it cannot be parsed.
    """
    bag = first_of("DagBag", "airflow.dag_processing.dagbag", "airflow.models.dagbag")(dag_folder=str(file))
    if bag.import_errors:
        raise DagFileError("\n".join(bag.import_errors.values()))
    return [bag.dags[name] for name in sorted(bag.dags)]
