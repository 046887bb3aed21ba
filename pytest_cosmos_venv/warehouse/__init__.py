"""A real dbt on a DuckDB file for one test: the project of the user, sources as given, and what comes out."""
