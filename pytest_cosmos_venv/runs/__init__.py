"""Runs of a DAG or of one task in the process of the test, each to its end."""
