"""Cosmos's import paths of the two public classes, which are made in ``cosmos_venv.dag``."""
