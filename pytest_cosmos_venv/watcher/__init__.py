"""Scenarios of ExecutionMode.WATCHER as data, and a run of each on an implementation."""
