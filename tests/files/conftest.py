"""The fixtures of environments' tests: a file system is unfit when no environment can be built there."""

from __future__ import annotations

from tests.environments.conftest import make_ready, make_spec, offline, start_python, wheelhouse

__all__ = ["make_ready", "make_spec", "offline", "start_python", "wheelhouse"]
