"""Which file dbt loads for a seed, and what is in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.read_limits import UnfitFileError
from cosmos_venv.operators.seeds.seed_checksum import find_seed, read_content

PIERS = "seeds/piers.csv"


def configure(project: Path, text: str) -> None:
    (project / "dbt_project.yml").write_text(f"name: harbor\n{text}")


def found(
    project: Path, path: str = PIERS, *, package: str = "harbor", installs: bool = False, kept: Path | None = None
) -> Path:
    return find_seed(project, path, package=package, installs_packages=installs, installed=lambda: kept)


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

    with pytest.raises(UnfitFileError, match=r"it is a named pipe, and no file that has an end"):
        read_content(tmp_path / "pipe.csv")
