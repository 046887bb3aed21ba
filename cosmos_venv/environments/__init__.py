"""Managed Python environments: described, built, found, kept and removed. Nothing here knows dbt or Airflow."""
