"""The same requirements and configuration, drawn by chance: the environment that is built holds what pip would install.

Each case has packages of its own behind two indexes, in a folder and on a page of links, and something that pip is
told in each way in which it can be told. pip itself says what it would install; then the environment is built with
``auto``, which is uv in most cases, and pip where it has to be. ``COSMOS_VENV_CASES=300`` draws so many in place of the
few that each run of the tests draws.
"""

from __future__ import annotations

import functools
import html
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.installers.bundled_pip import bundled_pip, own_pip
from cosmos_venv.environments.installers.choice import choose_installer
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Wheel, write_wheel
from pytest_cosmos_venv.environments.sdist import write_sdist
from tests.http_server import QuietFiles, served

CASES = int(os.environ.get("COSMOS_VENV_CASES", "16"))
FIRST = int(os.environ.get("COSMOS_VENV_FIRST_CASE", "0"))
NAMES = ("anchor", "buoy", "cable", "dock", "eyelet", "fender")
FINAL = ("1.0", "1.1", "2.0", "2.1", "3.0")
EARLY = ("0.9a1", "1.2b1", "2.5rc1", "4.0a1")

# One process that has imported pip forks for each question.
ASK_PIP = """
import json, os, runpy, sys, tempfile
runner = sys.argv[1]
sys.path.insert(0, os.path.dirname(os.path.dirname(runner)))
import pip._internal.commands.install, pip._internal.cli.main, pip._internal.network.session
for line in sys.stdin:
    order = json.loads(line)
    with tempfile.TemporaryDirectory() as folder:
        report, said = os.path.join(folder, "report"), os.path.join(folder, "said")
        pid = os.fork()
        if not pid:
            try:
                os.chdir(order["folder"])
                os.environ.clear()
                os.environ.update(order["environ"])
                output = os.open(said, os.O_WRONLY | os.O_CREAT)
                os.dup2(output, 1)
                os.dup2(output, 2)
                words = ["install", "--dry-run", "--ignore-installed", "--no-input", "--report", report]
                os._exit(pip._internal.cli.main.main([*words, *order["words"]]))
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                os._exit(1)
        status = os.waitpid(pid, 0)[1]
        pins = None
        if not status:
            found = json.load(open(report))["install"]
            pins = {each["metadata"]["name"]: each["metadata"]["version"] for each in found}
        print(json.dumps([pins, open(said, errors="replace").read()[-2000:]]), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class WheelForSomePythons(Wheel):
    """:param python: its ``Requires-Python``."""

    python: str

    @property
    def metadata(self) -> str:
        return f"{super().metadata.rstrip()}\nRequires-Python: {self.python}\n"


@dataclass(kw_only=True)
class Case:
    """The requirements of one installation, and the settings that pip gets beside them.

    :param folder: has ``one`` and ``two`` (indexes), ``links`` and ``page``, ``pip.conf`` and requirements files.
    """

    seed: int
    folder: Path
    requirements: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        files = {file.name: file.read_text() for file in [*self.folder.glob("*.txt"), *self.folder.glob("*.conf")]}
        told = {name: value for name, value in self.environ.items() if name.startswith("PIP_")}
        return f"case {self.seed}: {self.requirements} {self.options} {told} {files}"


@dataclass(kw_only=True)
class Drawing:
    """Draws one case."""

    chance: random.Random
    case: Case
    address: str
    in_file: list[str] = field(default_factory=list)
    configured: dict[str, dict[str, str]] = field(default_factory=lambda: {"global": {}, "install": {}})

    def draw(self) -> None:
        """Packages, requirements and settings, written where installers find them."""
        versions = {name: self.versions() for name in NAMES}
        for number, name in enumerate(NAMES):
            self.publish(name, versions[name], NAMES[number + 1 :], versions)
        wanted = self.chance.sample(NAMES[:4], self.chance.choice((1, 1, 2, 2, 3)))
        self.case.requirements = [f"{name}{self.specifier(name, versions)}" for name in wanted]
        self.tell_places()
        for name, value in self.more_settings():
            self.tell(name, value)
        self.write_files(versions)

    def versions(self) -> list[str]:
        early = self.chance.sample(EARLY, self.chance.choice((0, 0, 0, 1, 2)))
        return [*self.chance.sample(FINAL, self.chance.choice((2, 3, 4, 5))), *early]

    def specifier(self, name: str, versions: dict[str, list[str]]) -> str:
        one, other = self.chance.choice(FINAL[:3]), self.chance.choice(versions[name])
        late = self.chance.choice(FINAL[2:])
        return self.chance.choices(
            ("", f">={one}", f"<{late}", f"~={other}", f"=={other}", f">={other}", f"!={other}"),
            (55, 20, 10, 3, 4, 5, 3),
        )[0]

    def publish(self, name: str, its: list[str], below: tuple[str, ...], versions: dict[str, list[str]]) -> None:
        """Each version in one place or several: some yanked, some for other Pythons, few to be built."""
        for version in its:
            requires = tuple(f"{each}{self.specifier(each, versions)}" for each in below if self.chance.random() < 0.25)
            others = ("two", "links", "page")
            places = {self.chance.choice(("one", "one", *others)), self.chance.choice(("one", "one", "one", *others))}
            python = self.chance.choices((">=3.8", "<3.9", ">=3.99"), (90, 5, 5))[0]
            wheel = WheelForSomePythons(
                name=name, version=version, files={f"{name}.py": ""}, requires=requires, python=python
            )
            attributes = f'data-requires-python="{html.escape(python)}"'
            attributes += self.chance.choices(("", ' data-yanked=""'), (95, 5))[0]
            is_sdist = self.chance.random() < 0.02
            for place in sorted(places):
                folder = self.case.folder / place / (name if place in ("one", "two") else "")
                folder.mkdir(parents=True, exist_ok=True)
                builds = self.case.folder / "builds"
                path = (
                    write_sdist(wheel, folder, builds=builds, fails_with=None, hold=False).path
                    if is_sdist
                    else write_wheel(wheel, folder)
                )
                if place != "links":
                    with (folder / "index.html").open("a") as page:
                        page.write(f'<a href="{path.name}" {attributes}>{path.name}</a>\n')

    def tell_places(self) -> None:
        folder, address = self.case.folder, self.address
        (folder / "links").mkdir(exist_ok=True)
        for place in ("one", "two"):
            (folder / place).mkdir(exist_ok=True)
        links = self.chance.choice((str(folder / "links"), (folder / "links").as_uri(), "links"))
        first, second = self.chance.choice((("one", "two"), ("one", "two"), ("one", "two"), ("two", "one")))
        self.tell("index-url", self.chance.choice((f"{address}/{first}/", (folder / first).as_uri())))
        if self.chance.random() < 0.6:
            self.tell("extra-index-url", f"{address}/{second}")
        if self.chance.random() < 0.6:
            self.tell("find-links", links)
        if (folder / "page").exists() and self.chance.random() < 0.4:
            self.tell("find-links", f"{address}/page/index.html")
        if self.chance.random() < 0.1:
            self.tell("no-index", "true")

    def more_settings(self) -> Iterator[tuple[str, str]]:
        name = self.chance.choice(NAMES)
        settings = {
            ("pre", "true"): 0.12,
            ("only-binary", self.chance.choice((":all:", name))): 0.1,
            ("no-binary", name): 0.05,
            ("constraint", "limits.txt"): 0.3,
            ("no-deps", "true"): 0.05,
            ("prefer-binary", "true"): 0.04,
            ("trusted-host", "harbor.example"): 0.1,
            ("timeout", "30"): 0.1,
            ("upgrade", "true"): 0.1,
            ("no-build-isolation", "false"): 0.03,
            ("require-hashes", "true"): 0.02,
        }
        return (setting for setting, share in settings.items() if self.chance.random() < share)

    def tell(self, name: str, value: str) -> None:
        """Tell pip a setting in one of the ways that there are."""
        is_switch = value in ("true", "false")
        ways = ["global", "install", "variable", "option"]
        if name in ("index-url", "extra-index-url", "find-links", "no-index", "pre", "only-binary", "no-binary"):
            ways.append("file")
        way = self.chance.choice(ways)
        if way in self.configured:
            before = self.configured[way].get(name, "")
            self.configured[way][name] = f"{before}\n    {value}".strip() if name == "find-links" else value
        elif way == "variable":
            self.case.environ[f"PIP_{name.replace('-', '_').upper()}"] = value
        elif value != "false":
            words = [f"--{name}"] if is_switch else [f"--{name}", value]
            if way == "file":
                self.in_file.append(" ".join(words))
            else:
                self.case.options += words

    def write_files(self, versions: dict[str, list[str]]) -> None:
        folder, chance = self.case.folder, self.chance
        limited = chance.choice(NAMES)
        limit = self.specifier(limited, versions) or ">=0"
        if chance.random() < 0.4:
            limit = f"{chance.choice(('>=', '<', '<=', '!=', '=='))}{chance.choice((*EARLY, '1.0a0', '3.0rc9'))}"
        (folder / "limits.txt").write_text(f"{limited}{limit}\n")
        lines = [
            line
            for section, values in self.configured.items()
            for line in [f"[{section}]", *(f"{name} = {value}" for name, value in values.items())]
        ]
        (folder / "pip.conf").write_text("\n".join([*lines, ""]))
        self.case.environ["PIP_CONFIG_FILE"] = str(folder / "pip.conf")
        if self.in_file or chance.random() < 0.2:
            moved = self.case.requirements.pop()
            (folder / "wanted.txt").write_text("\n".join([*self.in_file, moved, ""]))
            self.case.requirements.append("-r wanted.txt")


@pytest.fixture
def pip_says(tmp_path: Path) -> Iterator[object]:
    """Pip's answer to a case: the versions, or None with its last words."""
    bundled = bundled_pip(Interpreter.of(), tmp_path, {"XDG_CACHE_HOME": str(tmp_path / "cache")}, ask=lambda _: "")
    runner = own_pip() or bundled  # as a build that goes by pip
    assert runner is not None
    command = [sys.executable, "-I", "-c", ASK_PIP, str(runner)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pip:
        assert pip.stdin is not None
        assert pip.stdout is not None
        stdin, stdout = pip.stdin, pip.stdout

        def ask(case: Case, environ: dict[str, str]) -> tuple[dict[str, str] | None, str]:
            words = [*case.options, *(word for each in case.requirements for word in each.split())]
            order = {"folder": str(case.folder), "environ": environ, "words": words}
            stdin.write(json.dumps(order) + "\n")
            stdin.flush()
            pins, said = json.loads(stdout.readline())
            return pins, said

        yield ask
        stdin.close()


@pytest.mark.long
def test_an_environment_holds_what_pip_would_install(
    tmp_path: Path, pip_says: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    home |= {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "uv")}
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    found: Counter[str] = Counter()
    differing = []

    with served(functools.partial(QuietFiles, directory=str(tmp_path))) as port:
        for seed in range(FIRST, FIRST + CASES):
            case = Case(seed=seed, folder=tmp_path / f"case-{seed}")
            case.folder.mkdir()
            address = f"http://127.0.0.1:{port}/{case.folder.name}"
            Drawing(chance=random.Random(seed), case=case, address=address).draw()  # noqa: S311 - no secret
            environ = {**home, **case.environ, "NO_PROXY": "127.0.0.1"}
            said_by_pip, words = pip_says(case, environ)  # type: ignore[operator] # the fixture's function
            with monkeypatch.context() as patch:
                patch.chdir(case.folder)
                for name, value in environ.items():
                    patch.setenv(name, value)
                built, by, lines = build(case)
            found[by if said_by_pip is not None else "neither"] += 1
            if built != said_by_pip:
                differing.append(f"{case}\npip: {said_by_pip} {words}\n{by}: {built} {lines[-12:]}")

    print(f"{CASES} cases from {FIRST}: {dict(found)}")
    assert not differing, "\n\n".join(differing)
    assert found["uv"] > CASES / 3


def build(case: Case) -> tuple[dict[str, str] | None, str, list[str]]:
    """The versions in the environment that is built, by which tool in the end, and what was reported."""
    spec = EnvironmentSpec(
        requirements=tuple(case.requirements), pip_install_options=tuple(case.options), interpreter=Interpreter.of()
    )
    installer = choose_installer("auto", case.options, os.environ, requirements=case.requirements)
    lines = [installer.reason]
    try:
        built = build_environment(
            spec, case.folder / "environment", installer, cancellation=Cancellation(), report=lines.append
        )
    except VirtualenvBuildError as error:
        return None, installer.name, [*lines, str(error)]
    by = built.installer.name
    return built.pins, by if by == installer.name else "uv, then pip", lines
