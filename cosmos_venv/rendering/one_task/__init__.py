"""The one task that a worker runs, made without the rest of its DAG."""
