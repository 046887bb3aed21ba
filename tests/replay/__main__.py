"""Replay the recorded scenarios on the checkout, and print what differs from the recording.

    .venv/bin/python -m tests.replay [--only PATTERN]
    .venv/bin/python -m tests.replay --record DIR [--python PYTHON]

The exit code is 1 where a difference is not in ``meant.toml``, an entry there no longer occurs, or a scenario broke.
``--record`` writes records instead; ``--python`` is the interpreter of an environment with the wheels of a release.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.replay.compare import differences, read_meant, read_records, verdict
from tests.replay.layout import CHECKOUT, HERE, MEANT, NAMES, RECORDED, RECORDS, RELEASE, ROOT, SHARED

PROCESSES = 2
LAST_LINES = 60
KEPT_VARIABLES = ("HOME", "PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_OFFLINE", "UV_FIND_LINKS", "UV_CACHE_DIR")
WHEELS = ROOT / ".cache" / "wheelhouse"


def main(argv: Sequence[str] | None = None) -> int:
    """Replay or record; 1 where something differs or broke."""
    options = _parser().parse_args(argv)
    # Paths of sockets are short there.
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        records = Path(options.record or folder / "records").absolute()
        records.mkdir(parents=True, exist_ok=True)
        if not _recorded(folder, records, options):
            return 1
        if options.record:
            return 0
        recorded, now = read_records(RECORDED), read_records(records)
    if options.only:
        recorded = {name: record for name, record in recorded.items() if fnmatch.fnmatch(name, options.only)}
    meant = [each for each in read_meant(MEANT) if not options.only]
    found = differences(recorded, now)
    lines = verdict(found, meant)
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{len(now)} scenarios, {len(found)} differences to {RELEASE}, {len(lines)} of them not as meant.toml says.")
    return 1 if lines else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", metavar="DIR", help="write the records there, and compare nothing")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs the scenarios")
    parser.add_argument("--only", metavar="PATTERN", help="only scenarios of such names, without meant.toml")
    parser.add_argument("--durations", action="store_true", help="print the processor's seconds of each scenario")
    return parser


def _recorded(folder: Path, records: Path, options: argparse.Namespace) -> bool:
    """Record the scenarios in a pytest session; False, and the end of its output, where one of them broke."""
    # Alone on the path: beside the checkout's own packages those of a release would not be found.
    (folder / "path" / "tests").mkdir(parents=True)
    (folder / "path" / "tests" / "replay").symlink_to(HERE)
    (folder / "shared").mkdir()
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    variables = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(WHEELS),
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(WHEELS),
        **kept,
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(folder / "path"),
        "UV_PYTHON_DOWNLOADS": "never",
        "DO_NOT_TRACK": "1",
        "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": "uv",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        NAMES: options.only or "*",
        RECORDS: str(records),
        CHECKOUT: str(ROOT),
        SHARED: str(folder / "shared"),
    }
    session = ["-c", str(HERE / "replay.ini"), "--rootdir", str(folder / "path"), "--noconftest", "--pyargs"]
    places = ["-o", f"cache_dir={ROOT / '.pytest_cache'}", "--basetemp", str(folder / "b")]
    dealt = ["-n", str(PROCESSES), "--dist", "load", "--maxschedchunk", "1"]
    done = subprocess.run(
        [options.python, "-m", "pytest", "-q", *session, "tests.replay.session", *places, *dealt],
        cwd=folder / "path",
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(*done.stdout.splitlines()[-LAST_LINES:], sep="\n")
    if options.durations:
        _print_durations(folder / "shared")
    return done.returncode == 0


def _print_durations(folder: Path) -> None:
    seconds = {file.stem: float(file.read_text()) for file in folder.glob("*.seconds")}
    for name, each in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{each:6.2f} s  {name}")
    with_real_dbt = sum(each for name, each in seconds.items() if name.startswith(("dbt1", "dbt2")))
    print(f"{sum(seconds.values()):6.2f} s in all, {with_real_dbt:.2f} s of these with a real dbt.")


if __name__ == "__main__":
    sys.exit(main())
