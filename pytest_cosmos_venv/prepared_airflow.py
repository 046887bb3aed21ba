"""The preparation of the process that contenders fork from: importing this module makes a DAG run ready, once for all.

Each contender would take some eight seconds of CPU for it on Airflow 3, and they would hardly run at one time.
"""

from __future__ import annotations

from pytest_cosmos_venv.airflow.versions import this_airflow

this_airflow().prepare_runs()
