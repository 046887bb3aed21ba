"""The plugin of Airflow: dbt docs in its UI, on Airflow 2.10 and 2.11 and on 3.1 and later.

A process that shows no pages imports only ``airflow_plugin.py``.
"""
