"""Processes as a lock meets them: dead, alive, zombie, of others; and what they weigh."""
