"""What may a command write to standard output? Its result alone: with ``--json`` a program reads it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_the_result_on_stdout() -> Iterator[None]:
    """Within this block whatever is written to stdout goes to stderr: Airflow 3 logs there, a DAG file may print."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
