"""What findings.md says of the lock of Cosmos: found by exploration, and repeated by its schedules."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.installed import ENVIRONMENTS, ROOT, is_missing

PAGE = (ROOT / "docs" / "reference" / "conformance" / "findings.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## The lock, explored\n")[2].partition("\n## ")[0]
CASES = {
    case.strip(): (seed, seen)
    for case, seed, seen in re.findall(r"^\| ([^|`]+) \| `([^`]+)` \| ([^|]+) \|$", SECTION, re.MULTILINE)
}
COSMOS = ENVIRONMENTS / "cosmos" / "bin" / "python"
MEANS = {
    "At most 1 work at one moment expected, 2 seen": "both tasks install at the same moment",
    "raised ValueError: invalid literal for int()": "the task fails with `ValueError`",
    "raised FileNotFoundError": "the task fails with `FileNotFoundError`",
}


@pytest.mark.long
@pytest.mark.skipif(is_missing(COSMOS), reason="no Cosmos at .cache/envs/cosmos: make test makes it")
def test_the_lock_of_cosmos_does_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "dbt_project.yml").write_text("name: p\nprofile: p\n")
    (tmp_path / "project" / "profiles.yml").write_text("p: {}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "seeds.json").write_text(json.dumps({case: seed for case, (seed, _) in CASES.items()}))
    explored = Path(__file__).with_name("cosmos_lock.py")
    options = ["-q", "--noconftest", "-c", str(tmp_path / "pytest.ini"), "-p", "no:cacheprovider"]

    done = subprocess.run(
        [COSMOS, "-m", "pytest", *options, str(explored)],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=560,  # each of its contenders imports Airflow: 90 s, and more on a busy machine
        check=False,
    )

    assert done.returncode == 0, done.stdout
    seen = {file.stem: json.loads(file.read_text()) for file in tmp_path.glob("*.json") if file.stem != "seeds"}
    for case, found in seen.items():
        print(case, json.dumps(found["seed"]), found["found"], found["table"], sep="\n")
    assert set(seen) == set(CASES)
    for case, (_, said) in CASES.items():
        assert not seen[case]["diverged"], case
        for failure in (seen[case]["found"], seen[case]["replayed"]):
            assert [means for words, means in MEANS.items() if words in failure] == [said], case
    shown = re.findall(r"```text\n(.*?)\n```", SECTION, re.DOTALL)
    assert shown == [seen[case]["table"] for case in CASES if seen[case]["table"] in shown]
    assert len(shown) == 2
