"""WATCHER: how the tasks of nodes wait while the producer runs dbt for all of them."""
