"""Processes in every state that a lock can meet (dead, alive, zombie, of another user), and the lock file itself."""
