"""The conformance suite for operators that run dbt in a virtualenv: ``SPEC.md`` says what is required, the checks show
it.

Shipped as ``pytest_cosmos_venv.conformance`` and run by ``pytest --cosmos-conformance``. The modules import each other
relatively, since the package has two names. From the plugin they import what ``pytest_cosmos_venv`` offers to
everybody, and beyond that what runs a task on either release of Airflow or without one (``airflow.task_context``,
``airflow.versions``), which Airflow there is and its servers (``airflow_release``, ``airflow_servers``), the maker of
fake environments (``environments.fake_venv``), the variables of Airflow's DAG processor and the watch for side effects
(``dags.dag_files``, ``dags.side_effects``), what tasks are prepared with (``prepared_airflow``), the
removal of folders (``throwaway``), time and tables (``real_time``, ``text_table``), the name of an entry point group
(``implementation``), and the option of the closing record and the files of a report (``suite``).
"""

from __future__ import annotations

SPECIFICATION_VERSION = "1.2"
SUITE_VERSION = "1.2"
