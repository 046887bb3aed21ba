"""Checks of DAG files without a line of code: ``pytest --cosmos-dags dags/``."""
