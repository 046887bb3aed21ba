"""Airflow in a test: home, Variables, Connections, DAGs and tasks that run, and their clock."""
