"""STDLIB ONLY. The server side of warm starts, run by the Python of an environment."""
