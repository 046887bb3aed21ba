# ruff: noqa: ARG002 - the folder of a pod has the parameters of the protocol
"""A thousand pods and one remote store: how often an environment is built, how long pods wait. Prints and stores it.

    .venv/bin/python -m benchmarks.remote_at_scale [--at /dev/shm]

Pods, locks, leases, archives and signatures are real. Network, builds and time are simulated: answers of the storage
take a drawn time and fail by chance, builds take a drawn time and fail by chance, pods and archives are evicted. Each
pod has an empty disk of its own, and none waits until its disk has written. The same seed gives the same run.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.storing import MACHINE, store
from benchmarks.virtual_time import VirtualTime
from cosmos_venv.environments import post_install, publisher
from cosmos_venv.environments.archive.remote_store import RemoteStore
from cosmos_venv.environments.archive.signed_record import Signer
from cosmos_venv.environments.builder import Built
from cosmos_venv.environments.environment import RecordedInstaller
from cosmos_venv.environments.installers.creation import create_in_process
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError, VirtualenvError
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.environments.wheel import Wheel, wheel_bytes
from pytest_cosmos_venv.throwaway import throwaway_folder

ARCHIVE = 50e6  # bytes of the archive of dbt with DuckDB
KEY = b"a key of all the pods"
RETRY = 60.0
TASK = 30.0


@dataclass(frozen=True, kw_only=True)
class Chances:
    """What happens how often.

    :param storage_fails: of each call of the storage.
    :param storage_hangs: of each call of the storage: it answers after its deadline.
    :param build_fails: of each build.
    :param pod_evicted: of each pod before its task has ended.
    :param archive_removed: of each archive, some time after it was put there.
    :param index_back_at: seconds after the beginning until which each build fails.
    """

    storage_fails: float = 0.0
    storage_hangs: float = 0.0
    build_fails: float = 0.0
    pod_evicted: float = 0.0
    archive_removed: float = 0.0
    index_back_at: float = 0.0


@dataclass(kw_only=True)
class Counts:
    """What has happened.

    :param waits: seconds from the start of each task to its environment, evictions and retries included.
    :param longest: seconds that a pod has taken at most to have its environment, or to fail.
    """

    waits: list[float] = field(default_factory=list)
    longest: float = 0.0
    builds: int = 0
    failed_builds: int = 0
    requests: int = 0
    downloaded: float = 0.0
    uploaded: float = 0.0
    evicted: int = 0
    retries: int = 0


class Evicted(BaseException):
    """The pod has gone in the middle of what it did."""


class Simulation:
    """One cluster with one storage."""

    def __init__(self, root: Path, *, chances: Chances, seed: int, has_remote: bool) -> None:
        self.root, self.chances, self.has_remote = root, chances, has_remote
        self.random = random.Random(seed)  # noqa: S311 - a simulation, which is to be the same each time
        self.time = VirtualTime()
        self.counts = Counts()
        self.files: dict[str, bytes] = {}
        self.pods = 0

    def run(self, environments: int, tasks: int, within: float) -> Counts:
        """Start tasks within some seconds, and see each of them to its end."""
        specs = [spec_of(number) for number in range(environments)]
        for number in range(tasks):
            spec = specs[number % environments]
            self.time.start(lambda spec=spec: self._task(spec), at=self.random.uniform(0, within))  # type: ignore[misc]
        # Nine tenths of the run would be a process for each pod that waits for the disk of this machine.
        with (
            patch.object(publisher, "build_environment", self._build),
            patch.object(post_install, "written_out", lambda *_, **__: nullcontext()),
        ):
            self.time.run()
        return self.counts

    def _task(self, spec: EnvironmentSpec) -> None:
        began = self.time.now()
        while True:
            pod = Pod(self, spec)
            try:
                pod.run()
            except Evicted:
                self.counts.evicted += 1
                self.time.sleep(RETRY)
            except VirtualenvError:
                self._note(self.time.now() - pod.began)
                self.counts.retries += 1
                self.time.sleep(RETRY)
            else:
                self._note(pod.ready_at - pod.began)
                self.counts.waits.append(pod.ready_at - began)
                return

    def _note(self, seconds: float) -> None:
        self.counts.longest = max(self.counts.longest, seconds)

    def _build(self, spec: EnvironmentSpec, directory: Path, *_: Any, **more: Any) -> Built:
        """Build in simulated time, with the calls that a builder makes each second."""
        self.counts.builds += 1
        on_tick: Callable[[], None] = more["on_tick"]
        seconds = self.random.uniform(4, 20)
        while seconds > 0:
            self.time.sleep(min(seconds, 1.0))
            on_tick()
            seconds -= 1.0
        if self.random.random() < self.chances.build_fails or self.time.now() < self.chances.index_back_at:
            self.counts.failed_builds += 1
            raise VirtualenvBuildError("the index does not answer")
        create_in_process(directory, interpreter=spec.interpreter, system_site_packages=False)
        fill(directory, spec.requirements[0])
        installer = RecordedInstaller(name="uv", reason="simulated")
        pins = {"dbt-core": "1.11.0"}
        return Built(pins=pins, commands=[], installer=installer, sources=(), provides={}, libraries={})


class Pod:
    """One pod: an empty disk, a task, and perhaps an end before its time."""

    def __init__(self, cluster: Simulation, spec: EnvironmentSpec) -> None:
        self.cluster, self.spec = cluster, spec
        cluster.pods += 1
        self.disk = cluster.root / f"pod-{cluster.pods}"
        is_evicted = cluster.random.random() < cluster.chances.pod_evicted
        self.ends_at = cluster.time.now() + cluster.random.uniform(0, 30) if is_evicted else float("inf")
        self.began, self.ready_at = cluster.time.now(), 0.0

    def run(self) -> None:
        """Have the environment, and use it."""
        remote = RemoteStore(
            folder=self, signer=Signer(key=KEY), seconds=60, now=self.cluster.time.now, sleep=self.sleep
        )
        try:
            with open_environment(
                EnvironmentStore(self.disk / "envs"),
                self.spec,
                preference="uv",
                max_tries=5,
                cancellation=Cancellation(),
                report=ignore,
                remote=lambda: remote if self.cluster.has_remote else None,
            ) as environment:
                self.ready_at = self.cluster.time.now()
                content = (environment.path / module_of(environment.path)).read_text(encoding="utf-8")
                assert self.spec.requirements[0] in content, "a pod has got another environment"  # noqa: S101
                self.sleep(TASK)
        finally:
            for folder in [self.disk, *self.disk.rglob("*")]:
                if folder.is_dir() and not folder.is_symlink():
                    folder.chmod(0o755)
            shutil.rmtree(self.disk, ignore_errors=True)

    def sleep(self, seconds: float) -> None:
        """Let time pass; the pod may be evicted meanwhile."""
        left = self.ends_at - self.cluster.time.now()
        self.cluster.time.sleep(max(min(seconds, left), 0.0))
        if seconds >= left:
            raise Evicted

    # The folder of the remote store, as this pod reaches it. A pod that is gone reaches nothing.

    def read(self, name: str, *, seconds: float, limit: Limit, on_wait: Callable[[], None]) -> bytes | None:
        """Answer with a file."""
        self._call(seconds)
        return self.cluster.files.get(name)

    def write(self, name: str, content: bytes, *, seconds: float, sweeps: bool, on_wait: Callable[[], None]) -> None:
        """Take a file."""
        self._call(seconds)
        self.cluster.files[name] = content

    def download(self, name: str, file: Path, *, size: int, seconds: float, on_wait: Callable[[], None]) -> bool:
        """Send an archive; False where there is none."""
        self._call(seconds, ARCHIVE)
        content = self.cluster.files.get(name)
        if content is None or len(content) != size:
            return False
        self.cluster.counts.downloaded += ARCHIVE
        file.write_bytes(content)
        return True

    def upload(self, file: Path, name: str, *, seconds: float, on_wait: Callable[[], None]) -> None:
        """Take an archive."""
        self._call(seconds, ARCHIVE)
        self.cluster.counts.uploaded += ARCHIVE
        self.cluster.files[name] = file.read_bytes()
        if self.cluster.random.random() < self.cluster.chances.archive_removed:
            time = self.cluster.time
            time.start(lambda: self._forget(name), at=time.now() + self.cluster.random.uniform(10, 600))

    def _forget(self, name: str) -> None:
        self.cluster.files.pop(name, None)

    def sweep(self, beginning: str, *, keep: Collection[str], seconds: float, on_wait: Callable[[], None]) -> None:
        """Look for archives of long ago, of which a run has none."""
        self._call(seconds)

    def remove(self, name: str, *, seconds: float) -> None:
        """Remove a file."""
        self._call(seconds)
        self.cluster.files.pop(name, None)

    def __str__(self) -> str:
        return "the simulated storage"

    def _call(self, seconds: float, size: float = 0.0) -> None:
        chances, draw = self.cluster.chances, self.cluster.random
        self.cluster.counts.requests += 1
        latency = draw.lognormvariate(-3.5, 0.5)  # 30 ms in the median
        if draw.random() < chances.storage_hangs:
            self.sleep(seconds)
            raise TimeoutError(f"there was no answer within {seconds:.0f} s")
        self.sleep(latency + size / draw.uniform(20e6, 200e6))
        if draw.random() < chances.storage_fails:
            raise ConnectionError("the storage has closed the connection")


def spec_of(number: int) -> EnvironmentSpec:
    """The spec of one of the environments."""
    return EnvironmentSpec(requirements=(f"dbt-core==1.11.{number}",), interpreter=Interpreter.of())


def module_of(environment: Path) -> str:
    """The file of an environment that says what it holds."""
    return str(next(environment.glob("lib/python*/site-packages/held.py")).relative_to(environment))


def fill(environment: Path, held: str) -> None:
    """Install a small distribution that says what the environment holds."""
    wheel = Wheel(name="held", version="1.0", files={"held.py": f"HELD = {held!r}\n"})
    with zipfile.ZipFile(io.BytesIO(wheel_bytes(wheel))) as packed:
        packed.extractall(next(environment.glob("lib/python*/site-packages")))


def ignore(_: str) -> None:
    """Do nothing with a line of a log."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many of the values do not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


SCENARIOS: Mapping[str, tuple[bool, Chances]] = {
    "without a remote store": (False, Chances()),
    "all goes well": (True, Chances()),
    "1 % of calls fail, 0.2 % hang": (True, Chances(storage_fails=0.01, storage_hangs=0.002)),
    "5 % of builds fail, 10 % of pods are evicted": (True, Chances(build_fails=0.05, pod_evicted=0.1)),
    "all of it, and 20 % of archives are removed": (
        True,
        Chances(storage_fails=0.01, storage_hangs=0.002, build_fails=0.05, pod_evicted=0.1, archive_removed=0.2),
    ),
    "the index is down for 2 minutes": (True, Chances(index_back_at=120.0)),
    "the storage is down": (True, Chances(storage_fails=1.0)),
}
HEADINGS = (
    "what happens",
    "builds",
    "failed",
    "evicted",
    "retries",
    "requests",
    "GB moved",
    "wait p50",
    "p99",
    "one pod at most",
    "lost",
)


def row(name: str, tasks: int, counts: Counts) -> list[str]:
    """One line of the table."""
    moved = (counts.downloaded + counts.uploaded) / 1e9
    return [
        name,
        str(counts.builds),
        str(counts.failed_builds),
        str(counts.evicted),
        str(counts.retries),
        f"{counts.requests:,}",
        f"{moved:.1f}",
        f"{percentile(counts.waits, 0.5):.1f} s",
        f"{percentile(counts.waits, 0.99):.1f} s",
        f"{counts.longest:.1f} s",
        str(tasks - len(counts.waits)),
    ]


def main() -> int:
    """Simulate, print, store; 1 when a task was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1000, help="tasks, each in a pod of its own (default 1000)")
    parser.add_argument("--environments", type=int, default=50, help="environments (default 50)")
    parser.add_argument("--within", type=float, default=60.0, help="seconds in which all tasks start (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default 1)")
    parser.add_argument("--at", type=Path, help="the folder of the pods' disks, best one in memory (default: TMPDIR)")
    options = parser.parse_args()
    found: dict[str, Counts] = {}
    for name, (has_remote, chances) in SCENARIOS.items():
        with throwaway_folder("cosmos-benchmark-", within=options.at) as root:
            simulation = Simulation(root, chances=chances, seed=options.seed, has_remote=has_remote)
            found[name] = simulation.run(options.environments, options.tasks, options.within)
        print(name, Counter(builds=found[name].builds, requests=found[name].requests), flush=True)
    lines = [HEADINGS, ["---"] + ["---:"] * (len(HEADINGS) - 1)]
    lines += [row(name, options.tasks, counts) for name, counts in found.items()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = (
        f"# One remote store for a thousand pods\n\n{MACHINE}. Simulated: {options.tasks} tasks of "
        f"{options.environments} environments start within {options.within:.0f} s, each in a pod with an empty disk; "
        f"an archive has 50 MB, a build takes 4 to 20 s, seed {options.seed}. Real: store, locks, leases, archives, "
        f"signatures.\n\n{table}\n"
    )
    print(text)
    rows = {
        name: {**vars(counts), "waits": [percentile(counts.waits, share) for share in (0.5, 0.99)]}
        for name, counts in found.items()
    }
    store("remote-at-scale", text, {"machine": MACHINE, "rows": rows})
    return 0 if all(len(counts.waits) == options.tasks for counts in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
