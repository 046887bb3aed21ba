"""One dbt run of a task."""
