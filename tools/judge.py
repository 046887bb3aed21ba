"""Whole runs of the conformance suite against the implementations that users have, one after the other.

    .venv/bin/python -m tools.judge [NAME ...]

Reports that are kept in docs/conformance/ are written anew, and with them the pages that compare them.
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
    :param has_servers: whether it is the run with servers of Airflow, in which all checks share one process.
    """

    name: str
    environment: Path
    implementation: str
    installer: str = "uv"
    is_kept: bool = False
    has_servers: bool = False

    @property
    def options(self) -> list[str]:
        """The options of the suite."""
        return [f"--cosmos-installer={self.installer}", *(["--cosmos-servers", "-n", "0"] if self.has_servers else [])]

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
    *(
        Judged(name=f"{name}-servers", environment=folder, implementation=root, is_kept=True, has_servers=True)
        for name, folder, root in (
            ("cosmos-venv", ROOT / ".venv", OURS),
            ("astronomer-cosmos-1.15", ENVIRONMENTS / "cosmos", PEER),
            ("astronomer-cosmos-1.14", ENVIRONMENTS / "cosmos114", PEER),
        )
    ),
)


def judge(run: Judged) -> None:
    """Judge one, and print what came of it."""
    keep = run.kept_at if run.is_kept else None
    found = run_suite(run.python, run.implementation, *run.options, keep=keep)
    told = "; ".join(
        f"{level} {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"
        for level, counts in found.report["closing"]["counts"].items()
    )
    print(f"{run.name}: {found.seconds:.0f} s, exit code {found.exit_code}; {told}", flush=True)
    for each in found.report["requirements"]:
        if each["verdict"] in ("failed", "harness error", "unexpected pass"):
            print(f"  {each['id']} {each['level']} ({each['since']}): {each['verdict']}")


def compare() -> None:
    """Write the pages that have the kept reports side by side, of ordinary runs and of those with servers."""
    for page, has_servers in (("compare.html", False), ("compare-servers.html", True)):
        kept = [run.kept_at for run in RUNS if run.is_kept and run.has_servers is has_servers]
        if files := [file for file in kept if file.exists()]:
            command.main(["compare", *map(str, files), "--html", str(KEPT / page)])


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
