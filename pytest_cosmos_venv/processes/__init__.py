"""Processes in every state that a lock can meet, the lock file itself, and mounts of one process alone."""
