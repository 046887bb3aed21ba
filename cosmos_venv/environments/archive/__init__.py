"""Environments that travel: packed on one machine, kept in a remote store, unpacked on another."""
