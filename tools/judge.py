"""Whole runs of the conformance suite against the implementations that users have, one after the other.

    .venv/bin/python -m tools.judge [NAME ...]

Reports that are kept in docs/conformance/ are written anew, and with them the page that compares them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suite_run import ROOT, run_suite
from conformance import command

KEPT = ROOT / "docs" / "conformance"
ENVIRONMENTS = ROOT / ".cache" / "envs"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One run.

    :param environment: the folder of the Python that runs it.
    :param implementation: as ``--cosmos-implementation`` takes it.
    :param is_kept: whether its report goes into docs/.
    """

    name: str
    environment: Path
    implementation: str
    installer: str = "uv"
    is_kept: bool = False

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def kept_at(self) -> Path:
        return KEPT / f"{self.name}.json"


OURS, PEER = "cosmos_venv", "cosmos"
RUNS = (
    Judged(name="cosmos-venv", environment=ROOT / ".venv", implementation=OURS, is_kept=True),
    Judged(name="cosmos-venv-pip", environment=ROOT / ".venv", implementation=OURS, installer="pip"),
    Judged(name="cosmos-venv-airflow2", environment=ENVIRONMENTS / "cosmos2", implementation=OURS),
    Judged(name="cosmos-venv-airflow2-pip", environment=ENVIRONMENTS / "cosmos2", implementation=OURS, installer="pip"),
    Judged(name="astronomer-cosmos-1.15", environment=ENVIRONMENTS / "cosmos", implementation=PEER, is_kept=True),
    Judged(name="astronomer-cosmos-1.14", environment=ENVIRONMENTS / "cosmos114", implementation=PEER, is_kept=True),
)


def judge(run: Judged) -> None:
    """Judge one, and print what came of it."""
    keep = run.kept_at if run.is_kept else None
    found = run_suite(run.python, run.implementation, f"--cosmos-installer={run.installer}", keep=keep)
    told = "; ".join(
        f"{level} {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"
        for level, counts in found.report["closing"]["counts"].items()
    )
    print(f"{run.name}: {found.seconds:.0f} s, exit code {found.exit_code}; {told}", flush=True)
    for each in found.report["requirements"]:
        if each["verdict"] in ("failed", "harness error", "unexpected pass"):
            print(f"  {each['id']} {each['level']} ({each['since']}): {each['verdict']}")


def compare() -> None:
    """Write the page that has the kept reports side by side."""
    files = [run.kept_at for run in RUNS if run.is_kept and run.kept_at.exists()]
    command.main(["compare", *map(str, files), "--html", str(KEPT / "compare.html")])


def main(argv: Sequence[str] | None = None) -> int:
    """Judge, keep, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [run.name for run in RUNS]
    parser.add_argument("name", nargs="*", choices=[*names, []], help=f"one of {', '.join(names)}; without it all")
    wanted = parser.parse_args(argv).name or names
    for run in RUNS:
        if run.name in wanted:
            judge(run)
    compare()
    return 0


if __name__ == "__main__":
    sys.exit(main())
