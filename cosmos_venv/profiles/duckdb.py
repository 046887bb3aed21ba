"""DuckDB: the Connection's host is the path of the database file."""

from __future__ import annotations

import re
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles.base import BaseProfileMapping

# A database in memory, a URL, a service such as MotherDuck, or a Jinja expression that dbt renders.
_ELSEWHERE = re.compile(r":memory:|[\w+.-]+:|.*\{[{%]")


class DuckDBUserPasswordProfileMapping(BaseProfileMapping):
    """A DuckDB file, from a Connection of type ``duckdb`` whose host is the absolute path of the file.

    As JSON: ``{"conn_type": "duckdb", "host": "/data/harbor.duckdb"}``. In a URI the path would end up in another
    field of the Connection.
    """

    airflow_connection_type = "duckdb"
    dbt_profile_type = "duckdb"
    required_fields = ("path",)
    airflow_param_mapping = {"path": "host"}

    def validate(self) -> None:
        """Refuse what the base refuses, and a relative path.

        :raises CosmosValueError: also for a relative path: the file would lie in the run's folder, and go with it.
        """
        super().validate()
        path = str(self.profile["path"])
        if not (Path(path).is_absolute() or _ELSEWHERE.match(path)):
            raise CosmosValueError(
                f"{type(self).__name__}: the path {path!r} of the connection {self.conn_id!r} is relative, and dbt "
                "runs in a temporary folder. Give the absolute path of the database file."
            )
