"""The fixtures of environments' tests: a file system is unfit when no environment can be built there."""

from __future__ import annotations

from tests.environments.conftest import everybodys_folder, make_ready, make_spec, offline, start_python, wheelhouse

__all__ = ["everybodys_folder", "make_ready", "make_spec", "offline", "start_python", "wheelhouse"]
