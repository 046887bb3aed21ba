"""Sound variants pass: the suite lets implementations be that do it otherwise."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path

import pytest

from benchmarks.suite_run import run_suite
from tests.conformance.variants import catalogue  # noqa: F401 - registers them
from tests.conformance.variants.variant import VARIANTS, Variant


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "variant",
    [pytest.param(variant, id=name) for name, variant in VARIANTS.items()],
)
def test_a_sound_variant_is_not_taken_for_a_faulty_one(variant: type[Variant]) -> None:
    named, kept = f"{variant.__module__}:{variant.__qualname__}", ",".join(variant.keeps)

    run = run_suite(Path(sys.executable), named, f"--cosmos-requirement={kept}", "-n", "0")

    met = [each for each in run.report["requirements"] if each["tests"]]
    assert [(each["id"], each["verdict"], each["evidence"]) for each in met if each["verdict"] != "passed"] == []
    missed = [pattern for pattern in variant.keeps if not fnmatch.filter((each["id"] for each in met), pattern)]
    assert missed == [], f"exit code {run.exit_code}"
