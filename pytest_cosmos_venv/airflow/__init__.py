"""Airflow in a test: home, Variables, Connections, running DAGs and tasks, their shape, their cost, their clock."""
