"""What does ``cosmos-venv doctor`` do? Look for what goes wrong in silence, and say how to put it right.

A check is a function of what is examined that gives a finding for each fault. It has a module of its own here, and
stands in ``CHECKS``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from cosmos_venv.cli.doctor.discovery import airflow_finds_the_file
from cosmos_venv.cli.doctor.finding import Examined, Finding

OK, WRONG = 0, 1

CHECKS: tuple[Callable[[Examined], Iterable[Finding]], ...] = (airflow_finds_the_file,)


def doctor(files: Sequence[Path], *, as_json: bool) -> int:
    """Make all checks. Returns the exit code, 1 when one of them has found something.

    :param as_json: whether stdout gets ``{"findings": [...]}`` in place of lines to read.
    """
    examined = Examined(files=tuple(files))
    findings = [finding for check in CHECKS for finding in check(examined)]
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _show(findings, examined)
    return WRONG if findings else OK


def _show(findings: Sequence[Finding], examined: Examined) -> None:
    show = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        show.print(f"{finding.subject}: {finding.fault} {finding.way_out}", markup=False)
    if not findings:
        count = len(examined.files)
        show.print(f"{count} DAG file{'s' * (count != 1)}: nothing found.", markup=False)
