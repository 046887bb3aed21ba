"""The plugin of Airflow: dbt docs in its UI, on Airflow 2.10 and 2.11 and on 3.1 and later.

Nothing of it is imported in a process that shows no pages, beside ``airflow_plugin.py``.
"""
