"""Recording a store of environments for tests of later releases: tests/data/stores/RELEASE.json.

    python -m tools.record_store VIRTUALENV_DIR NAME=DIGEST ... > tests/data/stores/RELEASE.json

What differs between machines is replaced by a word: digests by their names, the directory, the interpreter and the
folder of its packages. Byte code and scripts for shells are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

LEFT_OUT = ("activate", "deactivate", "pydoc")
DIRECTORY, PYTHON, HOME, PACKAGES = "{DIRECTORY}", "{PYTHON}", "{HOME}", "{PACKAGES}"


def main() -> int:
    """Print the store as JSON: path -> permissions, and text or target.

    :returns: the exit code, 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path, help="a virtualenv_dir that nobody uses meanwhile")
    parser.add_argument("digests", nargs="+", metavar="NAME=DIGEST", help="a word for each digest")
    options = parser.parse_args()
    words = {
        str(options.directory.resolve()): DIRECTORY,
        os.path.realpath(sys.executable): PYTHON,
        str(Path(os.path.realpath(sys.executable)).parent): HOME,
        f"python{sys.version_info.major}.{sys.version_info.minor}": PACKAGES,
        **{digest: f"{{{name}}}" for name, _, digest in (word.partition("=") for word in options.digests)},
    }

    def general(text: str) -> str:
        for found, word in words.items():
            text = text.replace(found, word)
        return text

    entries = {
        general(str(path.relative_to(options.directory))): _entry(path, general)
        for path in sorted(options.directory.rglob("*"))
        if path.suffix != ".pyc" and path.name != "__pycache__" and not path.name.startswith(LEFT_OUT)
    }
    print(json.dumps(entries, indent=1, ensure_ascii=False))
    return 0


def _entry(path: Path, general: Callable[[str], str]) -> dict[str, str]:
    if path.is_symlink():
        return {"target": general(str(path.readlink()))}
    mode = {"mode": f"{stat.S_IMODE(path.stat().st_mode):04o}"}
    return mode if path.is_dir() else {**mode, "text": general(path.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    sys.exit(main())
