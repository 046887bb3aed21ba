"""A dbt project's nodes as Airflow tasks: first a plan, which is plain data, then the tasks."""
