"""Benchmark of finding out that a seed is unchanged: hashing, beside the plain work beneath, and a skipped task.

``python -m benchmarks.seeds`` takes about a minute. Prints a table and stores it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, Row, cpu_seconds, in_turns, main

MEBIBYTES = 1024
MEMORY = """
import re, sys
from pathlib import Path
from cosmos_venv.files.read_limits import sha256_of_file
def most() -> int:  # of this program; what getrusage says begins with what its parent had
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
sha256_of_file(Path(sys.argv[1]))
print(most() - before)
"""
FIRST_SKIP = """
import sys
from pathlib import Path
from benchmarks.harness import cpu_seconds
from benchmarks.seeds import unchanged_seed
from cosmos_venv.compat import variable
operator = unchanged_seed(Path(sys.argv[1]))
variable("none")  # the store of Variables apart: a task's process has it loaded
print("SECONDS", cpu_seconds(lambda: operator.execute({})))
"""


def hashing(bench: Bench) -> list[Row]:
    """The hash of one file that lies in the page cache."""
    from cosmos_venv.files.read_limits import sha256_of_file

    path = bench.folder / "large.csv"
    with path.open("wb") as file:
        for _ in range(MEBIBYTES):
            file.write(os.urandom(2**20))
    ways = {
        "ours": lambda: cpu_seconds(lambda: sha256_of_file(path)),
        "hashlib": lambda: cpu_seconds(lambda: digest_of_hashlib(path)),
        "sha256sum": lambda: cpu_seconds(lambda: subprocess.run(["sha256sum", path], check=True, capture_output=True)),
    }
    taken = {name: min(seconds) for name, seconds in in_turns(ways, bench.rounds).items()}
    memory = subprocess.run([sys.executable, "-c", MEMORY, path], check=True, capture_output=True, text=True).stdout
    judged = taken["ours"] / min(taken["hashlib"], taken["sha256sum"])
    figures = f"{taken['ours']:.2f} s; hashlib {taken['hashlib']:.2f} s, sha256sum {taken['sha256sum']:.2f} s"
    most = "the most that the process ever held"
    return [
        Row(f"hash of {MEBIBYTES} MiB, beside the faster of hashlib and sha256sum", figures, judged, 1 / 0.9),
        Row(f"memory above the interpreter for {MEBIBYTES} MiB", most, int(memory) / 1024, 64.0, "MiB"),
    ]


def digest_of_hashlib(path: Path) -> str:
    """``hashlib.file_digest``, which Python has since 3.11; before it, what its documentation advises."""
    with path.open("rb") as file:
        if sys.version_info >= (3, 11):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while piece := file.read(256 * 1024):
            digest.update(piece)
        return digest.hexdigest()


def skipping(bench: Bench) -> list[Row]:
    """``execute`` of a small seed that is unchanged, without the store of Variables.

    The first such call of a process also imports what only such a task needs.
    """
    command = [sys.executable, "-c", FIRST_SKIP, str(bench.folder)]
    firsts = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.rpartition("SECONDS")[2])
        for _ in range(bench.rounds)
    ]
    operator = unchanged_seed(bench.folder)
    later = min(cpu_seconds(lambda: operator.execute({})) for _ in range(max(bench.rounds, 20)))
    apart = "its execute, without the store of Variables"
    return [
        Row("a task that skips its seed", apart, 1000 * later, 20.0, "ms"),
        Row("the first such task of a process", "the same, with what it imports", 1000 * min(firsts), 20.0, "ms"),
    ]


def unchanged_seed(folder: Path) -> Any:
    """The task of a seed whose remembered checksum is that of its file."""
    os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.files.read_limits import sha256_of_file
    from cosmos_venv.operators.local import DbtSeedLocalOperator
    from cosmos_venv.operators.seeds.seed_state import Scope

    (folder / "seeds").mkdir(exist_ok=True)
    (folder / "seeds" / "piers.csv").write_text("id\n1\n")
    (folder / "dbt_project.yml").write_text("name: harbor\n")
    (folder / "profiles.yml").write_text("")
    operator = DbtSeedLocalOperator(
        task_id="piers_seed",
        project_dir=folder,
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=folder / "profiles.yml"),
        dbt_executable_path="/nonexistent/dbt",  # a run would fail
        extra_context={
            "dbt_node_config": {"unique_id": "seed.harbor.piers", "original_file_path": "seeds/piers.csv"},
            "package_name": "harbor",
            "should_run_if_seed_changed": True,
        },
    )
    key = Scope.of(operator.dag_id, operator.task_group, {}, "seed.harbor.piers").key
    os.environ[f"AIRFLOW_VAR_{key.upper()}"] = sha256_of_file(folder / "seeds" / "piers.csv")
    return operator


if __name__ == "__main__":
    how = "The least of {rounds} rounds, in CPU time; the file lies in the page cache."
    title, measurements = "What it costs to find a seed unchanged", {"hashing": hashing, "skipping": skipping}
    sys.exit(main("seeds", title, measurements, rounds=10, how=how, description=__doc__))
