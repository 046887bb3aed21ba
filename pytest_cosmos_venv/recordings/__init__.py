"""Recorded runs: what a real dbt did, kept as files without secrets, for the fake dbt to replay."""
