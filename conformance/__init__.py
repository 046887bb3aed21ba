"""The conformance suite for operators that run dbt in a virtualenv: ``SPEC.md`` says what is required, the checks show
it.

Shipped as ``pytest_cosmos_venv.conformance`` and run by ``pytest --cosmos-conformance``. The modules import each other
relatively, since the package has two names. From the plugin they import the public names of ``pytest_cosmos_venv``, and
these modules beyond:

- ``airflow.task_context``, ``airflow.versions``: run a task on either release of Airflow, or without Airflow.
- ``airflow_release``, ``airflow_servers``: the installed Airflow and its servers.
- ``environments.fake_venv``: makes fake environments.
- ``dags.dag_files``, ``dags.side_effects``: the variables of Airflow's DAG processor, and the watch for side effects.
- ``prepared_airflow``: prepares tasks.
- ``throwaway``, ``real_time``, ``text_table``: the removal of folders, time and tables.
- ``implementation``: the name of an entry point group.
- ``suite``: the option of the closing record, and the files of a report.
"""

from __future__ import annotations

SPECIFICATION_VERSION = "1.3"
SUITE_VERSION = "1.3"
