"""Which file dbt loads for a seed, and what is in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.operators.seeds.seed_checksum import find_seed, read_content

PIERS = "seeds/piers.csv"


def configure(project: Path, text: str) -> None:
    (project / "dbt_project.yml").write_text(f"name: harbor\n{text}")


def found(
    project: Path, path: str = PIERS, *, package: str = "harbor", installs: bool = False, kept: Path | None = None
) -> Path:
    return find_seed(project, path, package=package, installs_packages=installs, installed=lambda: kept)


def test_the_projects_own_seed_is_found_below_it(dbt_project: Path) -> None:
    assert found(dbt_project) == dbt_project / PIERS


@pytest.mark.parametrize("paths", ["['data']", "['./data', 'more']", "[\"{{ var('folder') }}\"]", "['.']"])
def test_a_seed_in_another_folder_is_found_there(dbt_project: Path, paths: str) -> None:
    configure(dbt_project, f"seed-paths: {paths}\n")

    assert found(dbt_project, "data/piers.csv") == dbt_project / "data" / "piers.csv"


def test_a_seed_is_looked_for_where_the_project_has_its_seeds_now(dbt_project: Path) -> None:
    """A manifest that is older than dbt_project.yml names the file that dbt does not load."""
    configure(dbt_project, "seed-paths: [data]\n")
    (dbt_project / "data" / "deep").mkdir(parents=True)
    (dbt_project / "data" / "deep" / "piers.csv").write_text("id\n2\n")

    assert found(dbt_project) == dbt_project / "data" / "deep" / "piers.csv"


def test_a_seed_that_is_in_none_of_the_folders_is_not_known(dbt_project: Path) -> None:
    configure(dbt_project, "seed-paths: [data]\n")

    with pytest.raises(CosmosLoadDbtException, match=r"in none of the seed-paths of .*dbt_project.yml: data"):
        found(dbt_project)


def test_the_seed_of_an_installed_package_is_found_in_it(dbt_project: Path) -> None:
    configure(dbt_project, "packages-install-path: vendor\n")

    assert found(dbt_project, package="ports") == dbt_project / "vendor" / "ports" / PIERS


def test_the_seed_of_a_local_package_is_found_where_the_package_stands(dbt_project: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "dbt_project.yml").write_text("name: ports\nseed-paths: [data]\n")
    (dbt_project / "packages.yml").write_text("packages:\n  - local: ../shared\n")

    assert found(dbt_project, "data/x.csv", package="ports", installs=True) == tmp_path / "shared" / "data" / "x.csv"


def test_the_seed_of_a_package_that_is_yet_to_be_installed_is_not_known(dbt_project: Path) -> None:
    (dbt_project / "packages.yml").write_text("packages:\n  - {package: a/ports, version: 1.0.0}\n")

    with pytest.raises(CosmosLoadDbtException, match="'ports' is no local one, and `dbt deps` installs it only when"):
        found(dbt_project, package="ports", installs=True)


def test_the_seed_of_a_package_that_is_installed_already_is_found_in_it(dbt_project: Path, tmp_path: Path) -> None:
    (dbt_project / "packages.yml").write_text("packages:\n  - {package: a/ports, version: 1.0.0}\n")
    (tmp_path / "kept" / "ports").mkdir(parents=True)
    (tmp_path / "kept" / "ports" / "dbt_project.yml").write_text("name: ports\nseed-paths: [data]\n")

    where = found(dbt_project, "data/x.csv", package="ports", installs=True, kept=tmp_path / "kept")

    assert where == tmp_path / "kept" / "ports" / "data" / "x.csv"
    with pytest.raises(CosmosLoadDbtException, match="'ships' is no local one"):
        found(dbt_project, package="ships", installs=True, kept=tmp_path / "kept")


@pytest.mark.parametrize("content", [b"", b"id\n1\n", b"id\r\n1\r\n", b"\xef\xbb\xbfid\n1", b"x" * (2**20 + 1)])
def test_every_byte_of_the_file_counts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    assert read_content(tmp_path / "a.csv").checksum == hashlib.sha256(content).hexdigest()


def test_a_link_counts_by_what_it_leads_to(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    (tmp_path / "link.csv").symlink_to("a")
    content = read_content(tmp_path / "link.csv")
    assert content.is_still_there()

    (tmp_path / "link.csv").unlink()
    (tmp_path / "link.csv").symlink_to("b")

    assert content.checksum == hashlib.sha256(b"a").hexdigest()
    assert not content.is_still_there()


def test_content_of_the_same_size_and_time_is_no_longer_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    content, times = read_content(path), path.stat()

    other = tmp_path / "other"
    other.write_text("id\n2\n")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)

    assert not content.is_still_there()


@pytest.mark.timeout(20)
def test_a_named_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")

    with pytest.raises(CosmosValueError, match=r"pipe\.csv is a named pipe, which dbt would wait for"):
        read_content(tmp_path / "pipe.csv")


ENOUGH = 10_000
SWAPPING = """
import os, sys
path = sys.argv[1]
while True:
    for kind in ("pipe", "file"):
        os.symlink(kind, path + ".new")
        os.replace(path + ".new", path)
"""


@pytest.mark.timeout(60)
def test_a_named_pipe_that_takes_the_files_place_at_any_moment_is_refused(tmp_path: Path) -> None:
    """Another process puts it there and takes it away as fast as it can: also between looking and opening."""
    path = tmp_path / "piers.csv"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("id\n1\n")
    path.symlink_to("file")
    came: Counter[str] = Counter()
    with subprocess.Popen([sys.executable, "-c", SWAPPING, path]) as swapping:
        try:
            deadline = time.monotonic() + 30
            while min(came["a pipe"], came["a file"]) < ENOUGH and time.monotonic() < deadline:
                try:
                    came["a file"] += bool(read_content(path))
                except CosmosValueError:
                    came["a pipe"] += 1
        finally:
            swapping.kill()

    assert min(came["a pipe"], came["a file"]) >= ENOUGH


def test_a_device_is_refused_and_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "zero.csv").symlink_to("/dev/zero")

    with pytest.raises(CosmosValueError, match="is a device"):
        read_content(tmp_path / "zero.csv")


def test_a_directory_and_a_missing_file_are_told_from_each_other(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_content(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_content(tmp_path / "absent.csv")


def test_reading_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * 2**20)

    def pause() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_content(tmp_path / "a.csv", pause=pause)


MEASURE = """
import re, sys
from pathlib import Path
from cosmos_venv.operators.seeds.seed_checksum import read_content
def most() -> int:  # of this program; what getrusage says begins with what its parent had
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
print(read_content(Path(sys.argv[1])).checksum, most() - before)
"""


@pytest.mark.long
def test_a_gibibyte_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.touch()
    os.truncate(path, 2**30)

    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)

    checksum, kilobytes = done.stdout.split()
    assert checksum == "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"
    assert int(kilobytes) < 8 * 1024
