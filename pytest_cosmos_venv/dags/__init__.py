"""A DAG as data: its shape for comparison, and what building it costs."""
