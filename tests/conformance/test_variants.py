"""Does the suite let those be who do it otherwise? Sound variants keep what might take them for faulty."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.report import read_report
from tests.conformance.variants import catalogue  # noqa: F401 - registers them
from tests.conformance.variants.variant import VARIANTS, Variant


@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_a_sound_variant_is_not_taken_for_a_faulty_one(tmp_path: Path, variant: type[Variant]) -> None:
    options = [
        f"--cosmos-implementation={variant.__module__}:{variant.__qualname__}",
        f"--cosmos-requirement={','.join(variant.keeps)}",
        "--cosmos-report=out",
    ]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--cosmos-conformance", *options, "-q", "--tb=no"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    judged = read_report(tmp_path / "out" / "report.json")["requirements"]
    found = {each["id"]: each["verdict"] for each in judged if each["verdict"] != "not run"}
    assert found == dict.fromkeys(found, "passed"), done.stdout
    assert found, done.stdout
