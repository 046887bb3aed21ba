"""Models of BigQuery as single queries, without dbt."""
