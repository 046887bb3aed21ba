"""Airflow operators, one per dbt command and execution mode."""
