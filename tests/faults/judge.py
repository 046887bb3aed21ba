"""Judge the tests by faults: apply each patch of this folder to a copy of the checkout, and run the tests.

    .venv/bin/python -m tests.faults.judge [NUMBER ...]

A patch says which promise it breaks. The tests of the changed folder that .ci/run always runs come first, then those of
the folders that import it, then the long tests of the changed folder: .ci/run runs them where the folder has changed.
All take a quarter of an hour at most. The first failure is the answer. Answers are kept in
answers.json as they come: the command goes on where it was stopped, and judges a patch again that has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grimp

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ANSWERS = HERE / "answers.json"
PACKAGES = ("cosmos_venv", "pytest_cosmos_venv", "conformance")
LONGEST = 900.0
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_FIELD = re.compile(r"^(Promise|Source|Fault|Folder): (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One patch.

    :param file: its file; the name begins with its number.
    :param promise: the sentence that it breaks.
    :param folder: the folder of the changed module.
    """

    file: Path
    promise: str
    folder: str

    @property
    def number(self) -> str:
        return self.file.name.partition("-")[0]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The judgement of the tests on one fault.

    :param digest: of the patch.
    :param commit: of the checkout that it was applied to.
    :param caught_by: the first test that failed; None: none did.
    :param has_ended: whether all tests ran, where none failed.
    :param seconds: the time that it took.
    """

    digest: str
    commit: str
    caught_by: str | None
    has_ended: bool
    seconds: int


def faults() -> list[Fault]:
    """The faults of this folder, by number.

    :raises ValueError: when a patch lacks a line of its head.
    """
    found = []
    for file in sorted(HERE.glob("[0-9][0-9]-*.patch")):
        fields = dict(_FIELD.findall(file.read_text(encoding="utf-8")))
        if missing := {"Promise", "Source", "Fault", "Folder"} - fields.keys():
            raise ValueError(f"{file.name} has no line {', '.join(sorted(missing))}")
        found.append(Fault(file=file, promise=fields["Promise"], folder=fields["Folder"].strip().rstrip("/")))
    return found


def tests_of(folder: str) -> tuple[list[Path], list[Path]]:
    """The tests of a folder, and the tests of the folders that import it.

    :param folder: of the changed module, such as ``cosmos_venv/environments``.
    """
    graph = grimp.build_graph(*PACKAGES)
    changed = folder.replace("/", ".")
    inside = {name for name in graph.modules if name == changed or name.startswith(f"{changed}.")}
    users = {user for name in inside for user in graph.find_modules_that_directly_import(name)} - inside
    own = _paths(folder)
    others = dict.fromkeys(
        path for user in sorted(users) if "." in user for path in _paths("/".join(user.split(".")[:-1]))
    )
    return own, [path for path in others if path not in own]


def _paths(folder: str) -> list[Path]:
    """The tests of a folder of the product: a folder, files, or the tests of the folder above."""
    if folder == "cosmos_venv":
        return sorted((ROOT / "tests").glob("test_*.py"))
    path = ROOT / "tests" / folder.removeprefix("cosmos_venv/")
    found = [path] if path.is_dir() else sorted(path.parent.glob(f"test_{path.name}*.py"))
    return found or (_paths(folder.rpartition("/")[0]) if "/" in folder else [])


def make_copy(folder: Path) -> None:
    """Make a copy of the committed checkout with a Python environment of its own; the other environments are shared.

    :param folder: where; it must not exist.
    """
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".cache").symlink_to(ROOT / ".cache")
    (uv,) = (ROOT / ".cache" / "tools").glob(f"{sys.version_info.major}.{sys.version_info.minor}/bin/uv")
    python = folder / ".venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--seed", "--python", sys.executable, folder / ".venv"], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, "--compile-bytecode"]
    projects = ["-e", str(folder), "-e", str(folder / "pytest_cosmos_venv")]
    subprocess.run([*install, "-r", folder / "requirements" / "test.txt", *projects], check=True)


def judge(fault: Fault, copy: Path) -> Answer:
    """Apply a fault to the copy, run the tests, and take the fault out again."""
    began = time.monotonic()
    subprocess.run(["git", "apply", str(fault.file)], cwd=copy, check=True)
    caught, has_ended = None, True
    try:
        for marks, folders in _runs(fault):
            left = LONGEST - (time.monotonic() - began)
            said = _tests(copy, marks, [copy / each.relative_to(ROOT) for each in folders], left) if left > 0 else None
            has_ended = said is not None
            if not has_ended or (caught := next(iter(_FAILED.findall(said or "")), None)):
                break
    finally:
        subprocess.run(["git", "checkout", "--quiet", "."], cwd=copy, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=copy, check=True, capture_output=True, text=True)
    return Answer(
        digest=fault.digest,
        commit=commit.stdout.strip(),
        caught_by=caught,
        has_ended=has_ended,
        seconds=round(time.monotonic() - began),
    )


def _runs(fault: Fault) -> Iterator[tuple[str, list[Path]]]:
    own, users = tests_of(fault.folder)
    for marks, tests in (("not long or proof", own), ("not long or proof", users), ("long and not proof", own)):
        if tests:
            yield marks, tests


def _tests(copy: Path, marks: str, folders: Sequence[Path], seconds: float) -> str | None:
    """What pytest says of the tests; None when the time is over."""
    offline = {f"{tool}_FIND_LINKS": str(ROOT / ".cache" / "wheelhouse") for tool in ("PIP", "UV")}
    process = subprocess.Popen(
        [copy / ".venv" / "bin" / "python", "-m", "pytest", "-x", "-q", "-n", "3", "-m", marks, *folders],
        cwd=copy,
        env={**os.environ, **offline, "PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    return said


def main() -> int:
    """Judge the faults that have no answer yet, and print the table.

    :returns: how many faults no test has caught.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "numbers", nargs="*", metavar="NUMBER", help="judge these alone, again; none: all without answer"
    )
    parser.add_argument("--copy", type=Path, default=ROOT / ".cache" / "faults", help="folder of the copy")
    options = parser.parse_args()
    answers = (
        {number: Answer(**each) for number, each in json.loads(ANSWERS.read_text()).items()} if ANSWERS.exists() else {}
    )
    listed = faults()
    is_asked = {
        fault.number: fault.number in options.numbers
        if options.numbers
        else fault.number not in answers or answers[fault.number].digest != fault.digest
        for fault in listed
    }
    if any(is_asked.values()):
        shutil.rmtree(options.copy, ignore_errors=True)
        make_copy(options.copy)
    for fault in listed:
        if is_asked[fault.number]:
            answers[fault.number] = judge(fault, options.copy)
            text = {number: asdict(answer) for number, answer in sorted(answers.items())}
            ANSWERS.write_text(json.dumps(text, indent=2) + "\n")
            print(_row(fault, answers[fault.number]), flush=True)
    print(*(_row(fault, answers.get(fault.number)) for fault in listed), sep="\n")
    return sum(fault.number in answers and answers[fault.number].caught_by is None for fault in listed)


def _row(fault: Fault, answer: Answer | None) -> str:
    if answer is None:
        verdict = "not judged"
    elif answer.caught_by is not None:
        verdict = f"caught by {answer.caught_by} ({answer.seconds} s)"
    else:
        verdict = f"NOT CAUGHT ({answer.seconds} s{'' if answer.has_ended else ', not all tests ran'})"
    return f"{fault.number} {fault.promise}\n   {verdict}"


if __name__ == "__main__":
    sys.exit(min(main(), 1))
