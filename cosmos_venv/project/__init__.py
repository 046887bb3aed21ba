"""The nodes of a dbt project: read from a manifest, from ``dbt ls`` or from its files, and joined with their tests."""
