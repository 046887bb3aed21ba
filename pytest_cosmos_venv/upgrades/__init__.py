"""Comparison of dbt releases: projects as test items, and a table of the differences between releases."""
