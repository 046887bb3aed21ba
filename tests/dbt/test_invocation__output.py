"""How much of dbt's output is kept when it has ended."""

from __future__ import annotations

import sys
from pathlib import Path

from cosmos_venv.dbt.invocation import run_dbt

MEGABYTE = 1 << 20


def test_of_a_long_output_the_last_lines_are_kept_and_each_line_is_passed_on(tmp_path: Path) -> None:
    """A log of level debug has the SQL of each query, for hours."""
    passed: list[int] = []

    result = run_dbt(
        [sys.executable, "-c", f"for number in range(40): print(chr(65 + number % 26) * {MEGABYTE})\nprint('Done.')"],
        env={},
        cwd=tmp_path,
        on_line=lambda line: passed.append(len(line)),
    )

    assert passed == [MEGABYTE] * 40 + [5]
    assert sum(map(len, result.full_output)) <= 16 * MEGABYTE
    assert result.full_output[-2:] == ["N" * MEGABYTE, "Done."]
    assert result.output == "Done."
