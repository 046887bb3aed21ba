"""Benchmark of finding out that a seed is unchanged: hashing, beside the plain work beneath, and a skipped task.

``python -m benchmarks.seeds`` takes about a minute. Prints a table and stores it, but for ``--quick``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import Row, table
from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.throwaway import throwaway_folder

MEBIBYTE = 2**20
MEMORY = """
import re, sys
from pathlib import Path
from cosmos_venv.operators.seeds.seed_checksum import read_content
def most() -> int:  # of this program; what getrusage says begins with what its parent had
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
read_content(Path(sys.argv[1]))
print(most() - before)
"""
FIRST_SKIP = """
import sys
from pathlib import Path
from benchmarks.seeds import cpu_seconds, unchanged_seed
from cosmos_venv.compat import variable
operator = unchanged_seed(Path(sys.argv[1]))
variable("none")  # the store of Variables apart: a task's process has it loaded
print("SECONDS", cpu_seconds(lambda: operator.execute({})))
"""


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="of which the fastest counts (default 10)")
    parser.add_argument(
        "--quick", action="store_true", help="a small file, to see that it runs; nothing is stored then"
    )
    options = parser.parse_args()
    with throwaway_folder("cosmos-venv-benchmark-") as folder:
        found = hashing(folder, 64 if options.quick else 1024, options.rounds)
        found |= skipping(folder, options.rounds)
    rows = judged(found)
    words = f"The least of {options.rounds} rounds, in CPU time; the file lies in the page cache."
    text = f"# What it costs to find a seed unchanged\n\n{MACHINE}. {words}\n\n{table(rows)}\n"
    print(text)
    if not options.quick:
        store("seeds", text, {"machine": MACHINE, "found": found, "is_kept": {row.what: row.is_kept for row in rows}})
    return 0 if all(row.is_kept for row in rows) else 1


def judged(found: Mapping[str, float]) -> list[Row]:
    """The figures beside their bounds."""
    ours, library, program = (found[f"{name}_seconds"] for name in ("hashing", "hashlib", "sha256sum"))
    size = f"{found['mebibytes']:.0f} MiB"
    return [
        Row(
            what=f"hash of {size}, beside the faster of hashlib and sha256sum",
            figures=f"{ours:.2f} s; hashlib {library:.2f} s, sha256sum {program:.2f} s",
            judged=ours / min(library, program),
            bound=1 / 0.9,
        ),
        Row(
            what=f"memory above the interpreter for {size}",
            figures="the most that the process ever held",
            judged=found["memory_mebibytes"],
            bound=64.0,
            unit="MiB",
        ),
        Row(
            what="a task that skips its seed",
            figures="its execute, without the store of Variables",
            judged=found["skip_milliseconds"],
            bound=20.0,
            unit="ms",
        ),
        Row(
            what="the first such task of a process",
            figures="the same, with what it imports",
            judged=found["first_skip_milliseconds"],
            bound=20.0,
            unit="ms",
        ),
    ]


def hashing(folder: Path, mebibytes: int, rounds: int) -> dict[str, float]:
    """CPU seconds for one file that lies in the page cache."""
    from cosmos_venv.operators.seeds.seed_checksum import read_content

    path = folder / "large.csv"
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(MEBIBYTE))
    ours = least(rounds, lambda: read_content(path))
    library = least(rounds, lambda: digest_of_hashlib(path))
    program = least(rounds, lambda: subprocess.run(["sha256sum", path], check=True, capture_output=True))
    memory = subprocess.run([sys.executable, "-c", MEMORY, path], check=True, capture_output=True, text=True).stdout
    path.unlink()
    return {
        "mebibytes": float(mebibytes),
        "hashing_seconds": ours,
        "hashlib_seconds": library,
        "sha256sum_seconds": program,
        "memory_mebibytes": int(memory) / 1024,
    }


def digest_of_hashlib(path: Path) -> str:
    """``hashlib.file_digest``, which Python has since 3.11; before it, what its documentation advises."""
    with path.open("rb") as file:
        if sys.version_info >= (3, 11):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while piece := file.read(256 * 1024):
            digest.update(piece)
        return digest.hexdigest()


def skipping(folder: Path, rounds: int) -> dict[str, float]:
    """CPU milliseconds of ``execute`` of a small seed that is unchanged, the store of Variables apart.

    The first one of a process imports what only such a task needs.
    """
    firsts = [
        subprocess.run([sys.executable, "-c", FIRST_SKIP, folder], check=True, capture_output=True, text=True).stdout
        for _ in range(rounds)
    ]
    operator = unchanged_seed(folder)
    return {
        "skip_milliseconds": 1000 * least(max(rounds, 20), lambda: operator.execute({})),
        "first_skip_milliseconds": 1000 * min(float(each.rpartition("SECONDS")[2]) for each in firsts),
    }


def unchanged_seed(folder: Path) -> Any:
    """The task of a seed of which this process remembers that it was loaded as it is."""
    os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.operators.local import DbtSeedLocalOperator
    from cosmos_venv.operators.seeds.seed_checksum import read_content
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
    os.environ[f"AIRFLOW_VAR_{key.upper()}"] = read_content(folder / "seeds" / "piers.csv").checksum
    return operator


def least(rounds: int, work: Callable[[], object]) -> float:
    """CPU seconds, children included: others may be using the machine."""
    return min(cpu_seconds(work) for _ in range(rounds))


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time() + children()
    work()
    return time.process_time() + children() - before


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
