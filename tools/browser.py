"""Is there a browser for the tests of the report's page? Where Debian's packages can be installed, there is one now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = ("chromium", "chromium-driver", "fonts-dejavu-core")
PROGRAMS = ("chromium", "chromedriver")


def is_there() -> bool:
    return all(map(shutil.which, PROGRAMS))


def main() -> int:
    """Always 0: who has no browser and cannot install one is told so by the tests that need it."""
    if is_there() or shutil.which("apt-get") is None or os.geteuid() != 0:
        return 0
    print(f"Installing {', '.join(PACKAGES)} by apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", "-qq", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"apt-get {words[0]} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
