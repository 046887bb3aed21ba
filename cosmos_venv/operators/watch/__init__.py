"""WATCHER: what the tasks of nodes do while the producer runs dbt for all of them."""
