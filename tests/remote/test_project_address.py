"""The address of a project that lies elsewhere: what it says, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.config import ProjectConfig
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.remote.project_address import ProjectAddress

BEHIND = r"behind # stand subdirectory= and, of an archive, sha256= with 64 hex digits"
COMMIT, SHA256 = "0123456789abcdef" * 2 + "01234567", "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "kind", "url", "version", "subdirectory", "name"),
    [
        ("s3://b/shop.tar.zst", "archive", "s3://b/shop.tar.zst", "", "", "shop"),
        ("https://h/shop-1.4.tgz?sig=a", "archive", "https://h/shop-1.4.tgz?sig=a", "", "", "shop-1.4"),
        (f"gs://b/s.zip#sha256={SHA256}&subdirectory=a/b", "archive", "gs://b/s.zip", SHA256, "a/b", "s"),
        ("s3://b/projects/my shop/", "folder", "s3://b/projects/my shop/", "", "", "my_shop"),
        ("s3://b", "folder", "s3://b", "", "", "b"),
        ("file:///srv/..", "folder", "file:///srv/..", "", "", "project"),
        (f"git+https://h/o/dbt.git@{COMMIT}#subdirectory=shop", "git", "https://h/o/dbt.git", COMMIT, "shop", "dbt"),
        (f"git+ssh://git@h/dbt@{COMMIT}", "git", "ssh://git@h/dbt", COMMIT, "", "dbt"),
    ],
)
def test_an_address_says_where_the_project_is_and_what_it_is_called(
    text: str, kind: str, url: str, version: str, subdirectory: str, name: str
) -> None:
    found = ProjectAddress.of(text, None)

    assert (found.kind, found.url, found.version, found.subdirectory) == (kind, url, version, subdirectory)
    assert found.name == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("git+https://h/dbt.git@main", r"names no full commit.* `git rev-parse HEAD` prints"),
        ("git+https://h/dbt.git", r"names no full commit"),
        (f"git+https://h/dbt.git@{COMMIT[:12]}", r"names no full commit"),
        (f"git+ssh://mary:secret@h/dbt.git@{COMMIT}", r"other processes would see its password or query"),
        (f"git+https://h/dbt.git?token=secret@{COMMIT}", r"other processes would see its password or query"),
        (f"git+https://h/dbt.git@{COMMIT}#sha256={SHA256}", BEHIND),
        ("https://h/projects/shop", r"a folder on a web server cannot be listed. Give an archive"),
        ("s3://b/shop.zip#sha256=abc", BEHIND),
        (f"s3://b/shop#sha256={SHA256}", BEHIND),
        ("s3://b/shop.zip#egg=secret", BEHIND),
    ],
)
def test_what_is_no_address_is_refused_with_the_way_out(text: str, reason: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"ProjectConfig\.dbt_project_path='.*': .*{reason}") as raised:
        ProjectConfig(text)

    assert "mary:secret" not in str(raised.value)


def test_git_by_ssh_takes_no_connection() -> None:
    with pytest.raises(CosmosValueError, match=r"Give git\+https:// with a login, or a key of ssh"):
        ProjectConfig(f"git+ssh://git@h/dbt.git@{COMMIT}", dbt_project_conn_id="git_shop")


def test_a_configuration_keeps_the_address_and_gets_its_folder_later(tmp_path: Path) -> None:
    config = ProjectConfig("s3://b/shop.tar.gz", dbt_project_conn_id="b", manifest_path="target/manifest.json")
    given = ProjectConfig("s3://b/shop.tar.gz", manifest_path="/m/manifest.json")

    local = config.at(tmp_path / "shop")

    assert (config.dbt_project_path, config.project_name, config.models_paths) == (None, "shop", [])
    assert config.address == ProjectAddress(kind="archive", url="s3://b/shop.tar.gz", conn_id="b")
    assert (local.dbt_project_path, local.models_paths) == (tmp_path / "shop", [tmp_path / "shop" / "models"])
    assert local.manifest_path == tmp_path / "shop" / "target" / "manifest.json"
    assert given.at(tmp_path / "shop").manifest_path == Path("/m/manifest.json")
    assert ProjectConfig(tmp_path).address is None


def test_an_address_is_shown_without_its_credentials() -> None:
    found = ProjectAddress.of("https://mary:secret@h/shop.zip?token=secret", None)

    assert "h/shop.zip" in repr(found)
    assert "secret" not in f"{found!r}{found}"


def test_a_path_that_was_made_of_an_address_is_refused() -> None:
    with pytest.raises(CosmosValueError, match="is a URL of which Path has dropped a slash"):
        ProjectConfig(Path("s3://b/shop.tar.gz"))


def test_a_project_on_this_machine_imports_nothing_of_this(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("dbt_project.yml", "profiles.yml"):
        (tmp_path / name).touch()
    look = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cosmos_venv.config import ProfileConfig, ProjectConfig\n"
        "from cosmos_venv.rendering.configuration import Configuration\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "profile = ProfileConfig('a', 'b', profiles_yml_filepath=folder / 'profiles.yml')\n"
        "Configuration.of(ProjectConfig(folder), profile, None, None, None)\n"
        "print(*sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)

    assert not {"cosmos_venv.project.remote_project", "cosmos_venv.remote.project_address"} & {*done.stdout.split()}
