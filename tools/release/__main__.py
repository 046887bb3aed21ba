"""Make a release as far as it can be made without publishing it.

    python -m tools.release [--python 3.10,3.13] [--airflow 2.11.2,3.3.2] [--constraints FILE-OR-ADDRESS] [--tag v0.2.0]

In build/release then lie the archives of both distributions, their checksums, their provenance and the release notes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pytest_cosmos_venv.throwaway import throwaway_folder
from tools.release.artifacts import (
    ROOT,
    ReleaseError,
    build_twice,
    check,
    notes_of,
    output,
    released_commit,
    version_of,
    write_lists,
)
from tools.release.trial import Host, Trial, try_out, uv

FOLDER = ROOT / "build" / "release"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PINS = {"2": ROOT / "requirements" / "airflow2.txt", "3": ROOT / "requirements" / "airflow3.txt"}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the release; 1 with the reason where that is not possible."""
    options = _parser().parse_args(argv)
    try:
        _release(options)
    except ReleaseError as error:
        print(f"make release cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


def _release(options: argparse.Namespace) -> None:
    commit = released_commit()
    with throwaway_folder("release-") as folder:
        print(f"Building both distributions of {commit.digest[:12]}, twice", flush=True)
        files = build_twice(commit, folder)
        version = version_of(files)
        notes_of(commit.changelog, version)
        if options.tag and options.tag != f"v{version}":
            raise ReleaseError(f"--tag {options.tag} is not the version {version}: set the tag v{version}.")
        check(files)
        print(f"{version}: {', '.join(file.name for file in files)}: same bytes twice, and checked", flush=True)
        trials: list[Trial] = []
        for number, host in enumerate(_hosts(options)):
            place = folder / f"host-{number}"
            place.mkdir()
            trials.append(try_out(host, files, place))
        if FOLDER.exists():
            shutil.rmtree(FOLDER)
        FOLDER.mkdir(parents=True)
        kept = [Path(shutil.copy2(file, FOLDER)) for file in files]
        write_lists(FOLDER, kept, commit=commit, trials=[asdict(trial) for trial in trials])
    print(f"{FOLDER.relative_to(ROOT)}: {', '.join(sorted(file.name for file in FOLDER.iterdir()))}")


def _hosts(options: argparse.Namespace) -> Iterator[Host]:
    """Each Airflow on each Python of this machine that it has a release for."""
    pythons = [found for name in options.python if (found := _find(name))]
    for airflow in options.airflow:
        constraints = options.constraints or str(PINS[airflow.partition(".")[0]])
        for version, path in pythons:
            if airflow.startswith("3.") or version != "3.13":
                yield Host(python=version, interpreter=path, airflow=airflow, constraints=constraints)


def _find(name: str) -> tuple[str, str] | None:
    """The version and the path of a Python of this machine; None, and a line, when it is not there."""
    try:
        path = output([uv(), "python", "find", "--no-python-downloads", name])
    except ReleaseError:
        print(f"Python {name} is not on this machine: nothing is tried with it", flush=True)
        return None
    return output([path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]), path


def _pinned(pins: Path) -> str:
    """The Airflow of a file of pins."""
    (version,) = (
        line.partition("==")[2].split()[0]
        for line in pins.read_text(encoding="utf-8").splitlines()
        if line.startswith("apache-airflow==")
    )
    return version


def _listed(text: str) -> list[str]:
    return text.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make release", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--python",
        type=_listed,
        default=list(PYTHONS),
        metavar="NAME,...",
        help="versions, or paths, of what it is tried on; all that are supported",
    )
    parser.add_argument(
        "--airflow",
        type=_listed,
        default=[_pinned(pins) for pins in PINS.values()],
        metavar="VERSION,...",
        help="and beside these; those of requirements/",
    )
    parser.add_argument(
        "--constraints",
        help="Airflow's constraints: a file, or an address with {airflow} and {python}; else the pins of requirements/",
    )
    parser.add_argument("--tag", help="refuse another version than that of this tag")
    return parser


if __name__ == "__main__":
    sys.exit(main())
