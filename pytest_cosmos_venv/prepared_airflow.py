"""Importing this module prepares Airflow for DAG runs, in the process from which contenders fork.

On Airflow 3 the preparation takes some eight seconds of CPU. Contenders that prepared themselves would hardly run at
the same time.
"""

from __future__ import annotations

from pytest_cosmos_venv.airflow.versions import this_airflow

this_airflow().prepare_runs()
