"""Fixtures of the plugin's tests."""

from tests.plugin.docs_folder import docs_folder  # noqa: F401 - a fixture
