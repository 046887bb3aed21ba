"""What does the conformance suite say of the implementations that users have? Whole runs, one after the other.

    .venv/bin/python -m tools.judge [NAME ...]

Reports that are kept in docs/conformance/ are written anew, and with them the page that compares them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance import command
from conformance.report import read_report

ROOT = Path(__file__).resolve().parent.parent
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

    def command(self, folder: Path) -> list[str]:
        named = [f"--cosmos-implementation={self.implementation}", f"--cosmos-installer={self.installer}"]
        told = ["-n", "2", "-q", "--tb=no", f"--cosmos-report={folder}"]
        return [str(self.python), "-m", "pytest", "--cosmos-conformance", *named, *told]


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
    """Judge one, from an empty directory, and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        started = time.monotonic()
        variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            run.command(Path(folder)), cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        file = Path(folder, "report.json")
        if not file.exists():
            raise SystemExit(f"{run.name} left no report:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        text, report = file.read_text(encoding="utf-8"), read_report(file)
    counts = report["closing"]["counts"]
    told = "; ".join(
        f"{level} {', '.join(f'{count} {verdict}' for verdict, count in found.items())}"
        for level, found in counts.items()
    )
    print(f"{run.name}: {time.monotonic() - started:.0f} s, exit code {done.returncode}; {told}", flush=True)
    for each in report["requirements"]:
        if each["verdict"] in ("failed", "harness error", "unexpected pass"):
            print(f"  {each['id']} {each['level']}: {each['verdict']}")
    if run.is_kept:
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{run.name}.json").write_text(text, encoding="utf-8")


def compare() -> None:
    """Write the page that has the kept reports side by side."""
    files = [KEPT / f"{run.name}.json" for run in RUNS if run.is_kept and (KEPT / f"{run.name}.json").exists()]
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
