"""Run the long tests in parts, and keep what is proven in .ci/proven.json.

    python -m tools.long_tests                  run each part that has changed since it was proven (make test-all)
    python -m tools.long_tests --minutes 20     the same for .ci/run: the oldest first, as far as the time is enough

A part is a folder of tests, and takes at most 40 minutes on two cores. The long tests that .ci/run always runs (mark:
proof) are in no part. A part is proven when its tests pass; it stays proven until a file of its tests, or of the folder
that they test, changes. The file is written after each part, so the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
PROVEN = ROOT / ".ci" / "proven.json"
PACKAGES = ("cosmos_venv", "pytest_cosmos_venv", "conformance")
LONGEST_UNPROVEN = 5
"""Days with commits that a changed part may stay unproven; then the command fails."""
MARKS = "long and not proof"
SPLIT = ("tests", "tests/stacks")
"""Folders that are several parts: the files directly in it, and each folder in it."""
NOTHING_COLLECTED = 5  # exit code of pytest


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The last run of one part.

    :param tree: digest of the files that it was run on (`digest_of`).
    :param day: ISO date of the run.
    :param minutes: the time that it took.
    :param failures: ids of the tests that failed; empty: the part is proven.
    """

    tree: str
    day: str
    minutes: float
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """A folder of tests, or the tests that stand directly in it.

    :param name: the path of the folder below the checkout.
    :param paths: what pytest is given.
    """

    name: str
    paths: tuple[Path, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths whose change takes the proof away: the tests, and the folder that they test; else all code."""
        inside = self.name.removeprefix("tests").lstrip("/")
        beside = [folder for folder in (inside, f"cosmos_venv/{inside}") if inside and (ROOT / folder).is_dir()]
        own = f":(glob){self.name}/*.py" if self.name in SPLIT else self.name
        return (own, *(beside or PACKAGES))


def parts() -> list[Part]:
    """The folders of tests that have a long test. The files directly in a folder of `SPLIT` are a part of their own."""
    found = []
    for name in SPLIT:
        folder = ROOT / name
        found.append(Part(name=name, paths=tuple(sorted(folder.glob("test_*.py")))))
        found += [
            Part(name=str(path.relative_to(ROOT)), paths=(path,))
            for path in sorted(folder.iterdir())
            if path.is_dir() and str(path.relative_to(ROOT)) not in SPLIT
        ]
    return [part for part in found if any(has_long_tests(path) for path in _modules(part))]


def has_long_tests(module: Path) -> bool:
    """Whether a test of a file has the mark ``long``; some files take it from a list of marks."""
    text = module.read_text(encoding="utf-8")
    return any(word in text for word in ("mark.long", "ON_A_STACK", "marks=FURTHER", "marks=PROOF"))


def _modules(part: Part) -> Iterable[Path]:
    for path in part.paths:
        yield from path.rglob("*.py") if path.is_dir() else (path,)


def digest_of(part: Part) -> str:
    """Return the SHA-256 of names and contents of the part's files that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *part.inputs], cwd=ROOT, check=True, capture_output=True, text=True
    )
    digest = hashlib.sha256()
    for name in filter(None, sorted(listed.stdout.split("\0"))):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():  # the toolkit reaches the suite by a link
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def days_unproven(part: Part, proof: Proof | None) -> int:
    """Count the days after the last proof on which commits changed the part; without a proof, count from the first."""
    since = [f"--since={proof.day}T23:59:59"] if proof else []
    logged = subprocess.run(
        ["git", "log", "--format=%cs", *since, "--", *part.inputs], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return len(set(logged.stdout.split()))


def run(part: Part, seconds: float | None) -> Proof | None:
    """Run the long tests of a part, and keep their durations in tests/durations.json.

    :param seconds: the time that it may take; None: no limit.
    :returns: None when the time ended before the tests did.
    """
    began, tree = time.monotonic(), digest_of(part)
    report = ROOT / "build" / "long-tests" / f"{part.name.replace('/', '.')}.xml"
    words = [*workers_of(part.name), "-m", MARKS, "--store-durations", *map(str, part.paths)]
    failures = failures_of(words, report, seconds)
    if failures is None:
        return None
    minutes = round((time.monotonic() - began) / 60, 1)
    return Proof(tree=tree, day=datetime.now(tz=timezone.utc).date().isoformat(), minutes=minutes, failures=failures)


def workers_of(path: str) -> list[str]:
    """Return the arguments of pytest for its workers.

    A stack takes both cores, and a session starts each stack once. Two workers start it twice, one after the other.

    :param path: of a folder of tests or of a file, below the checkout.
    """
    return [] if path.startswith("tests/stacks") else ["-n", "2", "--dist", "worksteal"]


def failures_of(words: Sequence[str], report: Path, seconds: float | None) -> tuple[str, ...] | None:
    """Run pytest, and return the ids of the tests that failed.

    :param words: arguments of pytest.
    :param report: where pytest writes its report.
    :param seconds: the time that pytest may take; None: no limit.
    :returns: None when the time ended before the tests did. pytest is interrupted then, and ends what it started.
    """
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", *words, f"--junitxml={report}"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return None
    if code in (0, NOTHING_COLLECTED):
        return ()
    cases = ET.parse(report).getroot().iter("testcase") if report.exists() else ()  # noqa: S314 - pytest has written it
    failed = tuple(
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    )
    return failed or (f"exit code {code} of pytest",)


def read_proofs() -> dict[str, Proof]:
    if not PROVEN.exists():
        return {}
    listed = json.loads(PROVEN.read_text(encoding="utf-8"))
    return {name: Proof(**{**each, "failures": tuple(each["failures"])}) for name, each in listed.items()}


def write_proofs(proofs: dict[str, Proof], listed: Sequence[Part]) -> None:
    kept = {part.name: asdict(proofs[part.name]) for part in listed if part.name in proofs}
    PROVEN.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Run what has changed, and print a line for each part.

    :returns: 1 where a test failed, or where a changed part has gone unproven for too long.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="start no part that would take longer; default: no limit")
    parser.add_argument("--list", action="store_true", help="print the parts and run nothing")
    parser.add_argument("names", nargs="*", metavar="FOLDER", help="run these parts alone, proven or not")
    options = parser.parse_args()
    listed, proofs = parts(), read_proofs()
    if unknown := set(options.names) - {part.name for part in listed}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; --list prints them")
    asked = [part for part in listed if part.name in options.names] or [
        part for part in listed if not is_proven(part, proofs.get(part.name))
    ]
    asked.sort(key=lambda part: proofs[part.name].day if part.name in proofs else "")
    print(f"{len(listed)} parts, of which to run: {', '.join(part.name for part in asked) or 'none'}", flush=True)
    if options.list:
        return 0
    deadline = time.monotonic() + options.minutes * 60 if options.minutes else None
    is_red = False
    for part in asked:
        earlier = proofs.get(part.name)
        left = deadline - time.monotonic() if deadline else None
        is_enough = left is None or (earlier is not None and earlier.minutes * 60 < left)
        if is_enough and (proof := run(part, left)):
            proofs[part.name] = proof
            write_proofs(proofs, listed)
            is_red |= bool(proof.failures)
            print(f"{part.name}: {proof.minutes} min, {len(proof.failures)} failed", flush=True)
            continue
        unproven = days_unproven(part, earlier)
        is_red |= unproven >= LONGEST_UNPROVEN
        print(f"{part.name}: not run, it changed on {unproven} days since it was proven", flush=True)
    return int(is_red)


def is_proven(part: Part, proof: Proof | None) -> bool:
    """Whether the last run of a part passed on the files that are there now."""
    return proof is not None and proof.tree == digest_of(part) and not proof.failures


if __name__ == "__main__":
    sys.exit(main())
