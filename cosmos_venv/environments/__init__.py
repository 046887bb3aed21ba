"""Managed Python environments: what one is, how it is built, locked, published, used. Knows no dbt and no Airflow."""
