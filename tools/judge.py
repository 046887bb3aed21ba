"""Whole runs of the conformance suite against the implementations that users have, one after the other.

    .venv/bin/python -m tools.judge [NAME ...] [--runs 10]

Reports that are kept in conformance/reports/ are written anew, each in the folder of the specification's version, and
with them the pages that compare and list them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.suite_run import run_suite
from conformance import SPECIFICATION_VERSION, command
from conformance.reporting.kept_reports import README, REPORT, SERVERS_REPORT, kept_folders, reproducing_words, versions
from conformance.reporting.report import read_report

KEPT = ROOT / "conformance" / "reports"
PAGES = ROOT / "docs" / "reference" / "conformance"
ENVIRONMENTS = ROOT / ".cache" / "envs"
ADAPTERS = ROOT / "tests" / "conformance"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One run.

    :param environment: the folder of the Python that runs it.
    :param implementation: as ``--cosmos-implementation`` takes it.
    :param about: what it is, as a sentence for the README beside its report; empty: the report is not kept.
    :param has_servers: whether it is the run with servers of Airflow, in which all checks share one process.
    """

    name: str
    environment: Path
    implementation: str
    installer: str = "uv"
    about: str = ""
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
        folder = KEPT / SPECIFICATION_VERSION / self.name.removesuffix("-servers")
        return folder / (SERVERS_REPORT if self.has_servers else REPORT)


OURS, PEER = "cosmos_venv", "cosmos"
ABOUT_OURS = "cosmos-venv, as it stands in this repository."
ABOUT_PEER = "astronomer-cosmos, as it is released."
ABOUT_TINY = (
    "A command line of one file instead of operators, with an adapter of fifty lines: `tests/conformance/tiny/`."
)
ABOUT_PLAIN = (
    "dbt in Airflow without Cosmos: Airflow's own PythonVirtualenvOperator, which installs dbt and runs it, with the\n"
    "few lines that a team writes around it. They stand in `tests/conformance/plain_airflow/`, with the adapter."
)
RUNS = (
    Judged(name="cosmos-venv", environment=ROOT / ".venv", implementation=OURS, about=ABOUT_OURS),
    Judged(name="cosmos-venv-pip", environment=ROOT / ".venv", implementation=OURS, installer="pip"),
    Judged(name="cosmos-venv-airflow2", environment=ENVIRONMENTS / "cosmos2", implementation=OURS),
    Judged(name="cosmos-venv-airflow2-pip", environment=ENVIRONMENTS / "cosmos2", implementation=OURS, installer="pip"),
    Judged(name="astronomer-cosmos-1.15", environment=ENVIRONMENTS / "cosmos", implementation=PEER, about=ABOUT_PEER),
    Judged(
        name="astronomer-cosmos-1.16", environment=ENVIRONMENTS / "cosmos116", implementation=PEER, about=ABOUT_PEER
    ),
    Judged(name="tiny", environment=ROOT / ".venv", implementation="tiny.adapter:TinyAdapter", about=ABOUT_TINY),
    Judged(
        name="plain-airflow",
        environment=ROOT / ".venv",
        implementation="plain_airflow.adapter:PlainAirflowAdapter",
        about=ABOUT_PLAIN,
    ),
    *(
        Judged(name=f"{name}-servers", environment=folder, implementation=root, about=about, has_servers=True)
        for name, folder, root, about in (
            ("cosmos-venv", ROOT / ".venv", OURS, ABOUT_OURS),
            ("astronomer-cosmos-1.15", ENVIRONMENTS / "cosmos", PEER, ABOUT_PEER),
            ("astronomer-cosmos-1.16", ENVIRONMENTS / "cosmos116", PEER, ABOUT_PEER),
        )
    ),
)


def judge(run: Judged, runs: int = 1) -> bool:
    """Judge one implementation, and print the result. Returns whether all runs have the same verdicts.

    :param runs: how often; the last report is kept.
    """
    verdicts = [_judge(run) for _ in range(runs)]
    differing = [each for each in verdicts[0] if len({found.get(each) for found in verdicts}) > 1]
    for each in differing:
        print(f"  {each}: {', '.join(str(found.get(each)) for found in verdicts)}")
    return not differing


def _judge(run: Judged) -> dict[str, str]:
    keep = run.kept_at if run.about else None
    path = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ADAPTERS)))} if ":" in run.implementation else {}
    found = run_suite(run.python, run.implementation, *run.options, keep=keep, variables=path)
    told = "; ".join(
        f"{level} {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"
        for level, counts in found.report["closing"]["counts"].items()
    )
    print(f"{run.name}: {found.seconds:.0f} s, exit code {found.exit_code}; {told}", flush=True)
    for each in found.report["requirements"]:
        if each["verdict"] in ("failed", "harness error", "unexpected pass"):
            print(f"  {each['id']} {each['level']} ({each['since']}): {each['verdict']}")
    if keep is not None:
        write_readme(keep.parent, run.about, machine=machine())
    return found.verdicts


def machine() -> str:
    """This machine, as a README names it."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors."


def write_readme(folder: Path, about: str, *, machine: str) -> None:
    """Write a README with the commands that reproduce the reports of a folder; its facts are those of the reports."""
    files = [folder / name for name in (REPORT, SERVERS_REPORT) if (folder / name).exists()]
    reports = [read_report(file) for file in files]
    one = reports[0]
    commands = [" ".join(reproducing_words(report)) for report in reports]
    path = "PYTHONPATH=$PWD/tests/conformance " if ":" in commands[0] else ""
    text = f"""# {folder.name}

{about}

## Reproduce

{chr(10).join(f"    {path}{each}" for each in commands)}

These commands run in the environment in which the implementation is installed with the versions below. In a checkout of
this repository, `make judge ARGS={folder.name}` makes that environment first.

## Versions

- {one["implementation"]["name"]} {one["implementation"]["version"]}
- specification {one["specification"]}, suite {one["suite"]}
{chr(10).join(f"- {name} {value}" for name, value in one["environment"].items() if name != "platform")}

## Machine

{machine}
"""
    (folder / README).write_text(text, encoding="utf-8")


def write_pages() -> None:
    """Write the pages that have the reports of the newest version side by side, and the list of implementations."""
    folders = kept_folders(versions(KEPT)[0])
    for page, name in (("compare.html", REPORT), ("compare-servers.html", SERVERS_REPORT)):
        files = [str(folder / name) for folder in folders if (folder / name).exists()]
        if files:
            command.main(["compare", *files, "--html", str(PAGES / page)])
    command.main(["implementations", str(KEPT), str(PAGES / "implementations.md")])


def main(argv: Sequence[str] | None = None) -> int:
    """Judge, keep, compare, list; 1 when a report that is kept is not valid, or a verdict differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [run.name for run in RUNS]
    parser.add_argument("name", nargs="*", choices=[*names, []], help=f"one of {', '.join(names)}; without it all")
    parser.add_argument("--runs", type=int, default=1, help="how often each is judged: its verdicts must be the same")
    options = parser.parse_args(argv)
    is_steady = [judge(run, options.runs) for run in RUNS if run.name in (options.name or names)]
    write_pages()
    return command.main(["validate", str(KEPT)]) or int(not all(is_steady))


if __name__ == "__main__":
    sys.exit(main())
