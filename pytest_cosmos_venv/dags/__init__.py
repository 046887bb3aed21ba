"""A DAG as data: its shape for comparison, and the cost of building it."""
