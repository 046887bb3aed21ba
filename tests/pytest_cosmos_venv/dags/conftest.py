"""The choice of the environments in which the DAGs of these tests can be written."""

from __future__ import annotations

from importlib.util import find_spec

# They are written with Airflow 3's SDK; what the fixtures do on Airflow 2 is tried in an environment that has it.
collect_ignore_glob = [] if find_spec("airflow") is None or find_spec("airflow.sdk") else ["test_*.py"]
