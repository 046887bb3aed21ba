"""The picture of the page on several releases of dbt: real releases on the example and the recorded rendering project.

    .venv/bin/python -m tools.upgrade_picture

Writes docs/images/upgrades.png.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.suite_run import ROOT
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.engines import DRIVER, ENGINES

from .browser import started

IMAGE = ROOT / "docs" / "images" / "upgrades.png"
PROJECTS = (ROOT / "examples" / "dbt" / "harbor", ROOT / "tests" / "data" / "rendering-project")
RELEASES = ("1.11", "1.12", "2.0")
WIDTH, HEIGHT, SCALE = 1200, 860, 1.5


def compare(folder: Path) -> Path:
    """Run pytest with each release; returns the page. Tests that fail are part of the picture."""
    for project in PROJECTS:
        shutil.copytree(project, folder / "dbt" / project.name, ignore=shutil.ignore_patterns("target", "logs"))
    engines = [engine for engine in ENGINES if engine.name in RELEASES]
    lines = [
        "[pytest]",
        f"cosmos_cache_dir = {ROOT / '.cache' / 'toolkit'}",
        f"cosmos_dbt_drivers = {DRIVER}",
        "cosmos_dbt_requirements =",
        *(f"    {engine.name}: {' '.join(engine.requirements)}" for engine in engines),
    ]
    (folder / "pytest.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wheels = [str(engine.wheels) for engine in engines]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"--cosmos-dbt={','.join(RELEASES)}",
            "--cosmos-dbt-report=report",
            "dbt",
        ],
        cwd=folder,
        env={**os.environ, "UV_NO_INDEX": "1", "UV_FIND_LINKS": ",".join(wheels)},
        check=False,
    )
    return folder / "report" / "report.html"


def main() -> int:
    """Take the picture."""
    with (
        throwaway_folder("pictures-") as folder,
        started(folder / "profile", width=WIDTH, height=HEIGHT, scale=SCALE) as browser,
    ):
        browser.get(compare(folder).as_uri())
        browser.save_screenshot(str(IMAGE))
    print(IMAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
