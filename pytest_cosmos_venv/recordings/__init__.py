"""Recorded runs: what a real dbt did, kept as files without secrets, for the look-alike to replay."""
