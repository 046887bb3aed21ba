"""What does it cost to find out that a seed is unchanged? Hashing, beside the plain work beneath, and a skipped task.

python -m benchmarks.seeds [--rounds 5] [--mebibytes 1024]

Ends with 1 where a bound is not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20
MEMORY = """
import re, sys
from pathlib import Path
from cosmos_venv.dbt.seed_file import read_content
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
BOUNDS: dict[str, Callable[[float], bool]] = {
    "times_as_fast_as_the_faster": lambda found: found >= 0.9,
    "memory_above_interpreter_mebibytes": lambda found: found < 64,
    "skipped_task_milliseconds": lambda found: found <= 20,
    "first_skipped_task_milliseconds": lambda found: found <= 20,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of which the fastest counts")
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the seed that is hashed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cosmos-venv-benchmark-") as folder:
        found = {**hashing(Path(folder), options.mebibytes, options.rounds), **skipping(Path(folder), options.rounds)}
    print(json.dumps(found, indent=2))
    broken = [name for name, is_kept in BOUNDS.items() if not is_kept(found[name])]
    if broken:
        sys.exit(f"Not as it should be: {', '.join(broken)}")


def hashing(folder: Path, mebibytes: int, rounds: int) -> dict[str, float]:
    """CPU seconds for one file that lies in the page cache, and how many times as fast as the faster of the others."""
    from cosmos_venv.dbt.seed_file import read_content

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
        "hashing_seconds": ours,
        "hashlib_seconds": library,
        "sha256sum_seconds": program,
        "times_as_fast_as_the_faster": min(library, program) / ours,
        "memory_above_interpreter_mebibytes": int(memory) / 1024,
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
        "skipped_task_milliseconds": 1000 * least(max(rounds, 20), lambda: operator.execute({})),
        "first_skipped_task_milliseconds": 1000 * min(float(each.rpartition("SECONDS")[2]) for each in firsts),
    }


def unchanged_seed(folder: Path) -> Any:
    """The task of a seed of which this process remembers that it was loaded as it is."""
    os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.seed_file import read_content
    from cosmos_venv.operators.local import DbtSeedLocalOperator
    from cosmos_venv.operators.seed_memory import Scope

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
    key = Scope.of(operator, {}, "seed.harbor.piers").key
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
    main()
