"""Run one dbt command in a virtual environment: ``python -m tiny --need dbt-core --keep DIR PROJECT run``."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

READY = "ready.txt"


def main(argv: Sequence[str]) -> int:
    """The exit code of dbt, or of the installer."""
    parser = argparse.ArgumentParser(prog="tiny")
    parser.add_argument("--need", action="append", default=[], help="a requirement of dbt's environment")
    parser.add_argument("--pip", action="append", default=[], help="a word for pip install")
    parser.add_argument("--keep", type=Path, help="where the environment is kept; without it, it is made anew")
    parser.add_argument("project", type=Path)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("dbt", nargs=argparse.REMAINDER, help="the dbt command")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with environment(options.keep) as folder:
        install(folder, options.need, options.pip)
        return run(
            [str(folder / "bin" / "dbt"), *options.dbt, "--profiles-dir", str(options.profiles)], options.project
        )


@contextmanager
def environment(kept: Path | None) -> Iterator[Path]:
    """A folder for this run alone, or the kept one, which others then wait for."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="cosmos-venv") as folder:
            yield Path(folder)
        return
    kept.mkdir(parents=True, exist_ok=True)
    with (kept.parent / f"{kept.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield kept


def install(folder: Path, needs: Sequence[str], words: Sequence[str]) -> None:
    """Make the environment, unless the same one is there."""
    ready, told = folder / READY, "\n".join(sorted(needs))
    if ready.exists() and ready.read_text() == told:
        return
    ready.unlink(missing_ok=True)
    run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)])
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    run([uv, "pip", "install", "--quiet", "--python", str(folder), *words, *needs])
    ready.write_text(told)


def run(command: Sequence[str], cwd: Path | None = None) -> int:
    """Run it to its end; it ends with this process, as far as SIGTERM tells of that.

    :raises SystemExit: where it fails.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PYTHONHOME"))}
    process = subprocess.Popen(command, cwd=cwd, env=clean, stdin=subprocess.DEVNULL)
    try:
        code = process.wait()
    finally:
        process.kill()
    if code:
        raise SystemExit(code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
