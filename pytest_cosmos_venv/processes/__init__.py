"""Processes as a lock meets them: dead, alive, zombie, of others; and the lock file that names them."""
