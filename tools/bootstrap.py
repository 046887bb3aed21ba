"""Making the environments of `make demo` and `make test`, from a bare Python.

Standard library only, for the Python it is started with (3.10 or later). Everything that needs a package registry
happens here, and the results are kept. What is up to date is left alone, so a second run takes a moment and works
offline.
"""

from __future__ import annotations

import sys

# Before anything that an older Python would choke on.
if sys.version_info < (3, 10):  # noqa: UP036 - it is started by whatever Python there is
    sys.exit(f"Python 3.10 or later is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 …")

import argparse
import hashlib
import io
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory  # noqa: TID251 - wheels alone lie in it, no environment
from threading import Lock

ROOT = Path(__file__).resolve().parent.parent
TAG = f"{sys.version_info.major}.{sys.version_info.minor}"
STAMP = "cosmos-venv.stamp"
STARTED = time.monotonic()
# The lines of an installer that are shown as they come. Its last lines are shown when it fails.
TELLING = ("Resolved ", "Downloading ", "Building ", "Built ", "Prepared ", "Installed ", "Successfully ")
LAST_LINES = 25


class BootstrapError(Exception):
    """A step failed; the text says which command, and holds its last lines."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment that is to exist.

    :param path: its folder, relative to the checkout.
    :param pins: files of `requirements/`, without suffix.
    :param projects: folders of the checkout that are installed editable.
    :param since: the first Python that it exists for.
    :param below: the first later one that it does not exist for.
    :param as_pinned: install the pins without their dependencies (``--no-deps``).
    """

    path: str
    pins: tuple[str, ...]
    projects: tuple[str, ...] = ()
    since: tuple[int, int] = (3, 10)
    below: tuple[int, int] = (4, 0)
    as_pinned: bool = False

    @property
    def folder(self) -> Path:
        return ROOT / self.path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def arguments(self) -> list[str]:
        """The arguments after `pip install`, the same for uv."""
        options = ["--no-deps"] if self.as_pinned else []
        pins = [argument for name in self.pins for argument in ("-r", str(pins_file(name)))]
        return options + pins + [argument for folder in self.projects for argument in ("-e", str(ROOT / folder))]

    @property
    def digest(self) -> str:
        sources = [pins_file(name) for name in self.pins]
        sources += [ROOT / folder / "pyproject.toml" for folder in self.projects]
        return digest(self.path, *sources)


TOOLS = Environment(path=f".cache/tools/{TAG}", pins=("bootstrap",))
DEMO = Environment(path=f".demo/{TAG}/venv", pins=("demo",), projects=(".",))
TESTS = Environment(path=".venv", pins=("test",), projects=(".", "pytest_cosmos_venv"))
TOOLKIT = ("pytest_cosmos_venv",)
# Environments for what tests run in a process of its own: plain Airflows, the toolkit beside another implementation and
# beside other people's plugins, Airflow with its OpenLineage provider, both Airflows with Celery and its broker, older
# releases of Airflow 3, on which tasks cannot begin in the triggerer, the real dbts that the fake is compared with, the
# programs of a PostgreSQL server, and the providers of the clouds with the servers that stand in for the clouds.
OTHERS = (
    Environment(path=".cache/envs/airflow3", pins=("airflow3",)),
    Environment(path=".cache/envs/airflow2", pins=("airflow2",), below=(3, 13)),
    Environment(path=".cache/envs/cosmos", pins=("cosmos",), projects=TOOLKIT),
    Environment(path=".cache/envs/cosmos2", pins=("cosmos2",), projects=TOOLKIT, below=(3, 13)),
    Environment(path=".cache/envs/crowd", pins=("crowd",), projects=TOOLKIT),
    Environment(path=".cache/envs/openlineage", pins=("openlineage",)),
    Environment(path=".cache/envs/celery3", pins=("celery3",)),
    Environment(path=".cache/envs/celery2", pins=("celery2",), below=(3, 13)),
    Environment(path=".cache/envs/airflow30", pins=("airflow30",), below=(3, 13)),
    Environment(path=".cache/envs/airflow31", pins=("airflow31",)),
    Environment(path=".cache/envs/airflow32", pins=("airflow32",)),
    Environment(path=".cache/envs/airflow34", pins=("airflow34",), since=(3, 11)),
    Environment(path=".cache/envs/dbt111", pins=("dbt",)),
    Environment(path=".cache/envs/dbt110", pins=("dbt110",)),
    Environment(path=".cache/envs/postgres", pins=("postgres",)),
    Environment(path=".cache/envs/providers", pins=("providers",), projects=TOOLKIT, as_pinned=True),
)
# The environment that builds the site: Sphinx, and the code from which the reference is written.
DOCS = Environment(path=".cache/envs/docs", pins=("docs",), projects=(".", "pytest_cosmos_venv"), since=(3, 11))
# The environment that builds and checks the distributions of `make release`.
RELEASE = Environment(path=".cache/envs/release", pins=("release",))
# The environments that `make judge` needs beside those of the tests.
PEERS = (Environment(path=".cache/envs/cosmos116", pins=("cosmos116",), projects=TOOLKIT),)
WHEELHOUSE = ROOT / ".cache" / "wheelhouse"
# One download for each file: the files may pin different versions of one name.
WHEELHOUSE_PINS = ("wheelhouse", "dbt", "dbt110")
# Their wheels are in folders of their own: a test that asks for "dbt-core" without a version must not find them. The
# value is the first Python that a dbt has no release for.
OTHER_DBTS = {"dbt15": (3, 12), "dbt17": (3, 13), "dbt112": (4, 0)}
# The database driver of dbt 2, which comes by npm: the file, and the package that holds it.
DRIVER = ROOT / ".cache" / "drivers" / "libduckdb.so"
DRIVER_PACKAGE = "@duckdb/node-bindings-linux-x64@1.5.6-r.1"
# Scripts of the site, by npm too: Mermaid draws diagrams, axe-core finds barriers in the tests. Package -> its file.
SCRIPTS = {"mermaid@12.3.0": "dist/mermaid.min.js", "axe-core@4.14.1": "axe.min.js"}
DBT_2 = Environment(path=".cache/envs/dbt2", pins=("dbt2",))
NPM = Environment(path=f".cache/tools/npm-{TAG}", pins=("npm",))
# Two steps may need it at once.
NPM_IS_MADE = Lock()


def pins_file(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def digest(label: str, *sources: Path) -> str:
    """The digest of what an environment was made from: place, interpreter, recipe and files."""
    seen = hashlib.sha256(f"{ROOT}\0{label}\0{sys.executable}\0{sys.version}\0".encode())
    for source in (Path(__file__), *sources):
        seen.update(source.read_bytes() + b"\0")
    return seen.hexdigest()


def is_current(stamp: Path, expected: str) -> bool:
    try:
        return stamp.read_text(encoding="ascii") == expected
    except FileNotFoundError:
        return False


def say(subject: str, text: str) -> None:
    # One write: the steps run in threads, and print() writes the line's end apart.
    sys.stdout.write(f"[{time.monotonic() - STARTED:5.1f} s] {subject}: {text}\n")
    sys.stdout.flush()


def run(subject: str, command: Sequence[str | Path]) -> None:
    """Run an installer, and show its telling lines as they come.

    :raises BootstrapError: when it cannot be started or fails.
    """
    argv = [str(part) for part in command]
    lines: list[str] = []
    try:
        with subprocess.Popen(
            argv,
            cwd=ROOT,
            env=installer_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                if line.strip().startswith(TELLING):
                    say(subject, shortened(line.strip()))
    except OSError as error:
        raise BootstrapError(f"{argv[0]}: {error}") from error
    if process.returncode:
        raise BootstrapError("\n".join([f"{' '.join(argv)} ended with {process.returncode}:", *lines[-LAST_LINES:]]))


def installer_environment() -> dict[str, str]:
    """This process's variables without those that would lead an installer to another place."""
    leading_away = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in leading_away}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_PYTHON_DOWNLOADS": "never"}


def shortened(line: str, width: int = 90) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def make_tools() -> None:
    """Pip and uv of our own, for everything below. Without uv (no wheel for this machine) pip does all."""
    if is_current(TOOLS.folder / STAMP, TOOLS.digest):
        return
    say(TOOLS.path, f"making the installers' environment for Python {sys.version.split()[0]}")
    make_with_venv(TOOLS)
    try:
        run(TOOLS.path, [TOOLS.python, "-m", "pip", "install", *TOOLS.arguments])
    except BootstrapError as error:
        say(TOOLS.path, f"uv cannot be installed, pip goes on alone. {error}")
    (TOOLS.folder / STAMP).write_text(TOOLS.digest, encoding="ascii")


def make_with_venv(environment: Environment) -> None:
    if environment.folder.exists():
        shutil.rmtree(environment.folder)
    try:
        run(environment.path, [sys.executable, "-m", "venv", environment.folder])
    except BootstrapError as error:
        raise BootstrapError(f"{error}\nOn Debian and Ubuntu the package python3-venv holds what is missing.") from None


def make(environment: Environment) -> None:
    """Make an environment from its pins, unless it is up to date."""
    if not environment.since <= sys.version_info[:2] < environment.below:
        say(environment.path, f"skipped: {environment.pins[0]} has no release for Python {TAG}")
        return
    if is_current(environment.folder / STAMP, environment.digest):
        say(environment.path, "up to date")
        return
    uv = TOOLS.folder / "bin" / "uv"
    try:
        if not uv.exists():
            raise BootstrapError("uv is not there")
        make_with_uv(uv, environment)
    except BootstrapError as error:
        say(environment.path, f"not with uv, now with pip, which also reads pip.conf. {error}")
        make_with_venv(environment)
        run(environment.path, [environment.python, "-m", "pip", "install", *environment.arguments])
    (environment.folder / STAMP).write_text(environment.digest, encoding="ascii")
    say(environment.path, "ready")


def make_with_uv(uv: Path, environment: Environment) -> None:
    say(environment.path, f"installing {', '.join(f'requirements/{name}.txt' for name in environment.pins)} with uv")
    # --seed: pip belongs into it, the product builds with the worker's pip where uv would install something else.
    run(environment.path, [uv, "venv", "--seed", "--clear", "--python", sys.executable, environment.folder])
    # Compiled as pip does: tests start Airflow a hundred times, in places where no byte code is written. Without byte
    # code each start takes three times as long.
    options = ["--python", str(environment.python), "--compile-bytecode"]
    run(environment.path, [uv, "pip", "install", *options, *environment.arguments])


def fill_wheelhouse(pins: str, wheelhouse: Path | None = None) -> None:
    """Every wheel that these pins name for this Python; wheels of other Pythons stay beside them."""
    wheelhouse = wheelhouse or WHEELHOUSE
    subject = f".cache/{wheelhouse.name} ({pins})"
    stamp, expected = wheelhouse / f".{pins_file(pins).stem}-{TAG}.stamp", digest(pins, pins_file(pins))
    if is_current(stamp, expected):
        say(subject, "up to date")
        return
    say(subject, f"fetching the wheels of requirements/{pins}.txt with pip")
    wheelhouse.mkdir(parents=True, exist_ok=True)
    # In a folder of its own: when two steps shared a folder, one pip saw the half-written wheel of duckdb, found a bad
    # hash and removed it, and the other pip failed.
    with TemporaryDirectory(dir=wheelhouse, prefix=".") as fetched:
        options = ["--no-deps", "--progress-bar", "off", "--wheel-dir", fetched, "-r", str(pins_file(pins))]
        run(subject, [TOOLS.python, "-m", "pip", "wheel", *options])
        for wheel in Path(fetched).iterdir():
            wheel.replace(wheelhouse / wheel.name)
    stamp.write_text(expected, encoding="ascii")
    say(subject, f"ready, {len(list(wheelhouse.glob('*.whl')))} wheels in all")


def wheelhouse_of(pins: str) -> Path:
    """The folder of the wheels of another dbt."""
    return ROOT / ".cache" / f"wheelhouse-{pins}"


def fetch_driver() -> None:
    """The database driver of dbt 2."""
    subject = ".cache/drivers"
    stamp, expected = DRIVER.with_name(STAMP), digest(DRIVER_PACKAGE)
    if is_current(stamp, expected) and DRIVER.is_file():
        say(subject, "up to date")
        return
    fetch_from_npm(subject, DRIVER_PACKAGE, DRIVER.name, DRIVER)
    stamp.write_text(expected, encoding="ascii")
    say(subject, "ready")


def fetch_from_npm(subject: str, package: str, member: str, file: Path) -> None:
    """One file of a package, by the machine's npm, or else by one of the package index.

    :param subject: names the step in what is shown.
    :param package: its name, and its version after an @.
    :param member: path of the file in the package.
    :param file: where it is put.
    """
    npm = shutil.which("npm")
    if npm is None:
        with NPM_IS_MADE:
            make(NPM)
        npm = str(NPM.folder / "bin" / "npm")
    say(subject, f"fetching {package} with npm")
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=file.parent, prefix=".") as fetched:
        run(subject, [npm, "pack", "--silent", "--pack-destination", fetched, package])
        (archived,) = Path(fetched).glob("*.tgz")
        unpacked = Path(fetched, file.name)
        with tarfile.open(archived) as archive, unpacked.open("wb") as into:
            content = archive.extractfile(f"package/{member}")
            shutil.copyfileobj(content or io.BytesIO(), into)
        unpacked.replace(file)


def make_docs() -> None:
    """Make the environment of the site, and put the scripts into it. A new environment gets them again."""
    make(DOCS)
    if sys.version_info[:2] < DOCS.since:
        return
    for package, member in SCRIPTS.items():
        file = DOCS.folder / "share" / "scripts" / Path(member).name
        stamp = file.with_suffix(".stamp")
        if not (is_current(stamp, package) and file.is_file()):
            fetch_from_npm(DOCS.path, package, member, file)
            stamp.write_text(package, encoding="ascii")


def steps(target: str) -> Iterator[Callable[[], None]]:
    """The steps of a target; they do not depend on each other."""
    if target == "demo":
        yield partial(make, DEMO)
    if target == "test":
        for environment in (TESTS, *OTHERS):
            yield partial(make, environment)
    if target == "judge":
        for environment in (TESTS, *OTHERS, *PEERS):
            yield partial(make, environment)
    if target == "release":
        yield partial(make, RELEASE)
    if target in ("test", "docs"):
        yield make_docs
    if target in ("test", "wheelhouse"):
        yield from wheel_steps()


def wheel_steps() -> Iterator[Callable[[], None]]:
    """The steps that fetch wheels, and what dbt 2 needs beside them."""
    for pins in WHEELHOUSE_PINS:
        yield partial(fill_wheelhouse, pins)
    for pins, below in OTHER_DBTS.items():
        if sys.version_info[:2] < below:
            yield partial(fill_wheelhouse, pins, wheelhouse_of(pins))
    # dbt 2 is a wheel for this platform alone.
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        yield partial(fill_wheelhouse, "dbt2", wheelhouse_of("dbt2"))
        yield partial(make, DBT_2)
        yield fetch_driver


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the target needs; 1 with the failed command's last lines when a step fails."""
    parser = argparse.ArgumentParser(description="Make the environments of this project, from a bare Python.")
    parser.add_argument("target", choices=["demo", "test", "judge", "docs", "release", "tools", "wheelhouse"])
    target = parser.parse_args(arguments).target
    try:
        make_tools()
        with ThreadPoolExecutor(max_workers=3) as pool:
            for done in [pool.submit(step) for step in steps(target)]:
                done.result()
    except BootstrapError as error:
        print(f"make {target} cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
