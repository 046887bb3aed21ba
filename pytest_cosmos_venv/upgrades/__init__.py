"""Releases of dbt side by side: projects as test items, and what differs between the releases."""
