"""An installation into a folder, by pip or uv, for tests of what a wheelhouse holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse

UV = find_uv_bin()


class PlainInstall:
    """An installation with the options that it is given and no others."""

    def __init__(self, *, installer: str, target: Path) -> None:
        self.installer = installer
        self.pip = [UV, "pip"] if installer == "uv" else [sys.executable, "-m", "pip"]
        self.target = target
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin to install."""
        command = [*self.pip, "install", "--target", str(self.target), *words]
        if self.installer == "uv":
            command += ["--python", sys.executable]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(process)
        return process

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit code and output of an installation."""
        process = self.start(*words)
        output, _ = process.communicate(timeout=120)
        return process.returncode, " ".join(output.split())

    def end(self) -> None:
        """End what has not ended."""
        for process in self.started:
            process.kill()
            process.communicate()

    @property
    def installed(self) -> set[str]:
        """Distributions and commands."""
        distributions = {path.name.partition("-")[0] for path in self.target.glob("*.dist-info")}
        return distributions | {path.name for path in self.target.glob("bin/*")}


class Install(PlainInstall):
    """An installation from a wheelhouse, with all that was added to it until then."""

    def __init__(self, *, installer: str, wheelhouse: Wheelhouse, target: Path) -> None:
        super().__init__(installer=installer, target=target)
        self.wheelhouse = wheelhouse

    def start(self, *words: str) -> subprocess.Popen[str]:
        return super().start(*self.wheelhouse.pip_install_options, *words)
