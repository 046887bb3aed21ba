"""Processes below the worker, each ended with the task that started it."""
