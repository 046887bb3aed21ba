"""A dbt project as nodes: read from a manifest or from ``dbt ls``, and joined with its tests."""
