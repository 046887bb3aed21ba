"""Scenarios of seeds: a dbt project whose seeds change between DAG runs, and the Variables that runs have set."""
