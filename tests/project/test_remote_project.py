"""A project that lies elsewhere: each version is fetched once, whole, and a run sees one version."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from cosmos_venv.config import ProjectConfig
from cosmos_venv.environments.archive import zstd
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.remote_project import copy_of, version_of_run
from pytest_cosmos_venv import CosmosAirflow, CosmosProject
from tests.http_server import QuietFiles, served
from tests.worker_parse import parse

needs_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="a worker of Airflow 2 asks its database for the run")
FILES = {"dbt_project.yml": "name: shop\nprofile: shop\n", "models/orders.sql": "select 1 as id"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "projects-v1"


@pytest.fixture(autouse=True)
def _variables(cosmos_airflow: CosmosAirflow) -> None:
    """Variables in memory."""
    cosmos_airflow.variables  # noqa: B018


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere" / "shop"
    write(folder, FILES)
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def packed(folder: Path, *, name: str = "shop.tar.gz", inside: str = ".") -> Path:
    """An archive of a folder, beside it."""
    archive = folder.with_name(name)
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w") as made:
            for file in filter(Path.is_file, folder.rglob("*")):
                made.write(file, file.relative_to(folder))
        return archive
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(folder, arcname=inside)
    packs = {".gz": gzip.compress, ".zst": zstd().compress}.get(archive.suffix, bytes)
    archive.write_bytes(packs(content.getvalue()))
    return archive


def fetched(address: str, **more: Any) -> Path:
    config = ProjectConfig(address, **more)
    assert config.address is not None
    return copy_of(config.address)


def copies(cache: Path) -> list[str]:
    """The names of all that stands in the cache, but of notes."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("name", ["shop.tar.gz", "shop.tgz", "shop.tar.zst", "shop.tar", "shop.zip"])
def test_an_archive_is_fetched_once(shop: Path, cache: Path, name: str) -> None:
    archive = packed(shop, name=name)

    folders = [fetched(f"file://{archive}") for _ in range(2)]

    assert folders[0] == folders[1]
    assert folders[0].name == "shop"
    assert (folders[0] / "models" / "orders.sql").read_text() == "select 1 as id"
    assert copies(cache) == [f"{hashlib.sha256(archive.read_bytes()).hexdigest()}-shop"]


def test_a_changed_archive_is_another_version_in_a_folder_of_its_own(shop: Path, cache: Path) -> None:
    archive = packed(shop)
    first = fetched(f"file://{archive}")
    write(shop, {"models/orders.sql": "select 22 as id"})
    packed(shop)

    second = fetched(f"file://{archive}")

    assert (first / "models" / "orders.sql").read_text() == "select 1 as id"
    assert (second / "models" / "orders.sql").read_text() == "select 22 as id"
    assert len(copies(cache)) == 2


def test_the_project_is_the_only_folder_of_an_archive_or_the_subdirectory(shop: Path) -> None:
    write(shop, {"dbt/sales/dbt_project.yml": "name: sales"})
    archive = packed(shop, inside="shop-1.4")

    assert (fetched(f"file://{archive}") / "dbt_project.yml").read_text() == FILES["dbt_project.yml"]
    assert (fetched(f"file://{archive}#subdirectory=dbt/sales") / "dbt_project.yml").read_text() == "name: sales"


@pytest.mark.parametrize("order", [1, -1])
def test_two_folders_of_one_archive_are_found_with_and_without_the_folder_around_all(shop: Path, order: int) -> None:
    write(shop, {"north/dbt_project.yml": "name: north", "south/dbt_project.yml": "name: south"})
    archive = packed(shop, inside="shop-1.4")

    for name in ["north", "shop-1.4/south"][::order]:
        found = fetched(f"file://{archive}#subdirectory={name}")
        assert (found / "dbt_project.yml").read_text() == f"name: {name.rpartition('/')[2]}"


def test_a_named_sha256_is_asked_for_once_and_checked(shop: Path, cache: Path) -> None:
    archive = packed(shop)
    address = f"file://{archive}#sha256={hashlib.sha256(archive.read_bytes()).hexdigest()}"
    first = fetched(address)
    write(shop, {"models/orders.sql": "select 22 as id"})
    packed(shop)

    assert fetched(address) == first
    shutil.rmtree(cache)
    with pytest.raises(CosmosLoadDbtException, match=rf"{archive}: it is not of version .*which its sha256"):
        fetched(address)
    assert copies(cache) == []


def leading_out(folder: Path, name: str) -> Path:
    archive = folder.with_name(name)
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("dbt_project.yml", "name: shop")
            made.writestr("../../../escaped", "x")
        return archive
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
        member = tarfile.TarInfo("../../../escaped")
        tar.addfile(member)
    return archive


@pytest.mark.parametrize("name", ["shop.tar.gz", "shop.zip"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(shop: Path, cache: Path, tmp_path: Path, name: str) -> None:
    archive = leading_out(shop, name)

    with pytest.raises(CosmosLoadDbtException, match=rf"{archive}: it cannot be fetched: .*outside|leads out"):
        fetched(f"file://{archive}")

    assert copies(cache) == []
    assert list(tmp_path.rglob("escaped")) == []


@pytest.mark.parametrize("name", ["shop.tar.gz", "shop.tar.zst", "shop.zip"])
def test_a_broken_archive_and_one_without_a_project_leave_nothing(shop: Path, cache: Path, name: str) -> None:
    archive = packed(shop, name=name)
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(CosmosLoadDbtException, match=rf"{archive}: it cannot be fetched"):
        fetched(f"file://{archive}")
    (shop / "dbt_project.yml").unlink()
    packed(shop, name=name)
    with pytest.raises(
        CosmosLoadDbtException, match=rf"{archive}: it cannot be fetched: there is no dbt_project.yml in it"
    ):
        fetched(f"file://{archive}")

    assert copies(cache) == []


@pytest.mark.parametrize("rest", [0, 100], ids=["between-members", "in-a-header"])
def test_a_tar_archive_without_its_end_is_half_of_a_project(shop: Path, cache: Path, rest: int) -> None:
    archive = packed(shop, name="shop.tar")
    with tarfile.open(archive) as tar:
        last = tar.getmembers()[-1]
    archive.write_bytes(archive.read_bytes()[: last.offset + rest])

    with pytest.raises(CosmosLoadDbtException, match=rf"{archive}: it cannot be fetched: .*its end is missing"):
        fetched(f"file://{archive}")

    assert copies(cache) == []


class Server(QuietFiles):
    """Serves a folder, and notes what it has answered."""

    def __init__(self, *given: Any, folder: Path, statuses: list[int], broken: list[bool]) -> None:
        self.statuses, self.broken = statuses, broken
        super().__init__(*given, directory=str(folder))

    def send_response(self, code: int, message: str | None = None) -> None:
        self.statuses.append(code)
        super().send_response(code, message)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(100) if self.broken else source.read())


@pytest.fixture
def web(shop: Path) -> Iterator[SimpleNamespace]:
    statuses, broken = list[int](), list[bool]()
    with served(partial(Server, folder=shop.parent, statuses=statuses, broken=broken)) as port:
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", statuses=statuses, broken=broken)


def test_a_web_server_is_asked_whether_its_archive_has_changed(shop: Path, web: SimpleNamespace) -> None:
    packed(shop)

    folders = {fetched(f"{web.url}/shop.tar.gz") for _ in range(3)}

    assert len(folders) == 1
    assert web.statuses == [200, 304, 304]


def test_where_no_answer_comes_a_parse_takes_its_copy_with_a_warning(
    shop: Path, cache: Path, web: SimpleNamespace, log: pytest.LogCaptureFixture
) -> None:
    archive = packed(shop)
    first = fetched(f"{web.url}/shop.tar.gz")
    web.broken.append(True)
    os.utime(archive, (time.time() + 60,) * 2)

    assert fetched(f"{web.url}/shop.tar.gz") == first
    assert "shop.tar.gz cannot be read now" in log.text
    shutil.rmtree(cache)
    with pytest.raises(CosmosLoadDbtException, match=r"shop\.tar\.gz: it cannot be fetched"):
        fetched(f"{web.url}/shop.tar.gz")
    assert copies(cache) == []


def test_a_server_that_has_no_archive_has_answered(shop: Path, web: SimpleNamespace) -> None:
    archive = packed(shop)
    fetched(f"{web.url}/shop.tar.gz")
    archive.unlink()

    with pytest.raises(CosmosLoadDbtException, match="the server says 404"):
        fetched(f"{web.url}/shop.tar.gz")


def test_a_folder_of_object_storage_is_one_version_while_no_file_changes(shop: Path, cache: Path) -> None:
    first = fetched(f"file://{shop}")
    assert fetched(f"file://{shop}/") == first
    assert (first / "models" / "orders.sql").read_text() == "select 1 as id"
    write(shop, {"models/items.sql": "select 2 as id"})

    second = fetched(f"file://{shop}")

    assert not (first / "models" / "items.sql").exists()
    assert (second / "models" / "items.sql").exists()
    assert len(copies(cache)) == 2


def test_a_folder_that_changes_while_it_is_copied_is_not_taken(
    shop: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped] # it has no types

    get = LocalFileSystem.get

    def changing(*given: Any, **more: Any) -> None:
        get(*given, **more)
        write(shop, {"models/items.sql": "select 2 as id"})

    monkeypatch.setattr(LocalFileSystem, "get", changing)

    with pytest.raises(
        CosmosLoadDbtException, match=f"{shop}: it cannot be fetched: it has changed while it was copied"
    ):
        fetched(f"file://{shop}")
    assert copies(cache) == []


def test_an_empty_folder_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(CosmosLoadDbtException, match="empty: it cannot be fetched: there are no files"):
        fetched(f"file://{tmp_path}/empty")


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def committed(folder: Path) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=x")
    return git(folder, "rev-parse", "HEAD")


def test_a_commit_of_git_is_fetched_once_whatever_comes_after_it(shop: Path, cache: Path) -> None:
    write(shop, {"dbt/sales/dbt_project.yml": "name: sales"})
    commit = committed(shop)
    write(shop, {"models/orders.sql": "select 22 as id"})
    git(shop, "commit", "--quiet", "--all", "--message=y")

    folder = fetched(f"git+file://{shop}@{commit}")

    assert (folder / "models" / "orders.sql").read_text() == "select 1 as id"
    below = fetched(f"git+file://{shop}@{commit}#subdirectory=dbt/sales")
    assert (below / "dbt_project.yml").read_text() == "name: sales"
    shutil.rmtree(shop)
    assert fetched(f"git+file://{shop}@{commit}") == folder
    assert copies(cache) == [f"{commit}-shop", f"{commit}-shop-dbt-sales"]


def test_a_commit_that_is_not_there_is_an_error_in_the_words_of_git(shop: Path, cache: Path) -> None:
    committed(shop)

    with pytest.raises(CosmosLoadDbtException, match=rf"{shop}: it cannot be fetched: git fetch: .*not our ref"):
        fetched(f"git+file://{shop}@{'0' * 40}")
    assert copies(cache) == []


def test_a_login_of_git_stands_on_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosmos_airflow: CosmosAirflow
) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/words\nenv | grep GIT_CONFIG > {tmp_path}/env\n'
        'case $* in *fetch*) echo "$@"; exit 128;; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    cosmos_airflow.connections.add("git_shop", conn_type="git", login="mary", password="w:ord/of@mary")

    for address, conn_id in (("mary:w%3Aord%2Fof%40mary@git.test", None), ("git.test", "git_shop")):
        with pytest.raises(CosmosLoadDbtException) as raised:
            fetched(f"git+https://{address}/shop.git@{'0' * 40}", dbt_project_conn_id=conn_id)

        login = base64.b64encode(b"mary:w:ord/of@mary").decode()
        assert f"GIT_CONFIG_VALUE_0=Authorization: Basic {login}" in (tmp_path / "env").read_text()
        assert "https://git.test/shop.git" in (tmp_path / "words").read_text()
        for text in ((tmp_path / "words").read_text(), str(raised.value)):
            assert "ord" not in text.replace("words", "")


def in_a_process(address: str, hook: Callable[[str, tuple[Any, ...]], object]) -> int:
    """Fetch a project in a process of its own, with a hook for what Python audits; returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.addaudithook(hook)
            fetched(address)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_that_is_killed_while_it_unpacks_leaves_nothing_that_is_used(shop: Path, cache: Path) -> None:
    archive = packed(shop)

    def kill(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and "orders.sql" in str(given[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_process(f"file://{archive}", kill) == -signal.SIGKILL
    (left,) = (cache / name for name in copies(cache))
    assert (left / "unpacked" / "dbt_project.yml").exists(), "it was killed before it unpacked"
    folder = fetched(f"file://{archive}")
    assert (folder / "models" / "orders.sql").exists()
    assert left not in folder.parents
    # What it has left is removed when it is old.
    os.utime(left, (time.time() - 7_200,) * 2)
    os.utime(archive, (1, 1))
    fetched(f"file://{archive}")
    assert not left.exists()


@pytest.mark.long
def test_a_process_that_is_killed_at_any_step_publishes_all_or_nothing(shop: Path, cache: Path) -> None:
    archive, kills = packed(shop), 0
    whole = ["dbt_project.yml", "models", "models/orders.sql"]
    for last in range(1, 200):
        steps = iter(range(last))

        def kill(event: str, given: tuple[Any, ...]) -> None:
            is_step = event in ("open", "os.mkdir", "os.rename") and str(cache) in str(given[0])
            if is_step and next(steps, None) is None:  # noqa: B023 - it is called in this turn
                os.kill(os.getpid(), signal.SIGKILL)

        status = in_a_process(f"file://{archive}", kill)

        for copy in cache.glob("*-shop"):
            assert sorted(str(each.relative_to(copy / "shop")) for each in (copy / "shop").rglob("*")) == whole
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
        shutil.rmtree(cache, ignore_errors=True)
    assert kills > 5


def test_a_process_that_was_slower_takes_the_copy_of_the_other(shop: Path, cache: Path) -> None:
    archive = packed(shop)

    def be_faster(event: str, given: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(given[1]).endswith("-shop"):
            shutil.copytree(given[0], given[1])

    assert in_a_process(f"file://{archive}", be_faster) == 0
    assert copies(cache) == [fetched(f"file://{archive}").parent.name]


def test_a_copy_that_nobody_uses_goes_after_thirty_days(shop: Path, cache: Path) -> None:
    archive = packed(shop)
    used, unused = fetched(f"file://{archive}").parent, cache / f"{'0' * 64}-shop"
    shutil.copytree(used, unused)
    for copy in (used, unused):
        os.utime(copy, (time.time() - 31 * 86_400,) * 2)
    fetched(f"file://{archive}")
    write(shop, {"models/items.sql": "select 2 as id"})
    packed(shop)

    fetched(f"file://{archive}")

    assert used.exists()
    assert not unused.exists()


def test_nothing_is_taken_from_a_folder_that_others_may_write_to(shop: Path, cache: Path) -> None:
    fetched(f"file://{shop}")
    cache.chmod(0o777)
    write(shop, {"models/items.sql": "select 2 as id"})

    with pytest.raises(CosmosLoadDbtException, match=f"others may write to {cache}"):
        fetched(f"file://{shop}")


DAG_FILE = """
# an airflow dag
from airflow import DAG
from cosmos_venv import DbtTaskGroup, ProfileConfig, ProjectConfig

with DAG("shop"):
    for name in ("first", "second"):
        DbtTaskGroup(
            name,
            project_config=ProjectConfig({address!r}, manifest_path="target/manifest.json"),
            profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath={profiles!r}),
        )
"""


def test_all_groups_of_a_dag_file_run_in_one_copy_of_which_the_server_is_asked_once(
    tmp_path: Path, cosmos_project: CosmosProject, web: SimpleNamespace, shop: Path, cache: Path
) -> None:
    project = cosmos_project("jaffle")
    project.model("orders", "select 1 as id")
    project.manifest()
    shutil.rmtree(shop)
    packed(Path(shutil.copytree(project.path, shop)))
    file = tmp_path / "dags_of_the_shop.py"
    file.write_text(DAG_FILE.format(address=f"{web.url}/shop.tar.gz", profiles=str(project.profiles_yml)))

    tasks = [parse(file, "shop").get_task(f"{name}.orders_run") for name in ("first", "second")]

    (copy,) = copies(cache)
    assert {task.project_dir for task in tasks} == {cache / copy / "shop"}
    assert web.statuses == [200, 304], "a parse for each task"


def in_a_worker(address: str, monkeypatch: pytest.MonkeyPatch, *, began: float | None) -> Path:
    """Fetch a project as a worker does that imports a DAG file for a task of a run."""
    from airflow.sdk.execution_time import task_runner

    start = None if began is None else datetime.fromtimestamp(began, timezone.utc)
    what = SimpleNamespace(ti_context=SimpleNamespace(dag_run=SimpleNamespace(start_date=start)))
    with monkeypatch.context() as patch:
        patch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "shop")
        patch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "orders_run")
        # As that module does it: its argument has the run.
        code = compile("def parse(what):\n    return fetched(address)\n", task_runner.__file__, "exec")
        exec(code, names := {**vars(task_runner), "fetched": fetched, "address": address})  # noqa: S102
        folder: Path = names["parse"](what)
        return folder


@needs_airflow_3
def test_all_tasks_of_a_run_see_the_version_that_was_the_newest_when_it_began(
    shop: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    archive = packed(shop)
    first = fetched(f"file://{archive}")
    began = time.time()
    write(shop, {"models/orders.sql": "select 22 as id"})
    packed(shop)

    # No DAG processor has seen the new version yet.
    assert in_a_worker(f"file://{archive}", monkeypatch, began=began) == first
    second = fetched(f"file://{archive}")
    assert in_a_worker(f"file://{archive}", monkeypatch, began=began) == first
    assert f"This run has version {first.parent.name[:12]} of file://{archive}" in log.text
    assert in_a_worker(f"file://{archive}", monkeypatch, began=time.time()) == second
    assert in_a_worker(f"file://{archive}", monkeypatch, began=None) == second


@needs_airflow_3
def test_a_worker_fetches_the_version_of_its_run_or_none(
    shop: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(shop)
    first = fetched(f"file://{archive}")
    shutil.rmtree(cache)
    assert in_a_worker(f"file://{archive}", monkeypatch, began=time.time()) == first
    shutil.rmtree(cache)
    write(shop, {"models/orders.sql": "select 22 as id"})
    packed(shop)

    with pytest.raises(CosmosLoadDbtException, match=rf"{archive}: it is not of version .* now, .*clear the run"):
        in_a_worker(f"file://{archive}", monkeypatch, began=time.time())
    archive.unlink()
    with pytest.raises(CosmosLoadDbtException, match=rf"{archive}: it cannot be fetched"):
        in_a_worker(f"file://{archive}", monkeypatch, began=time.time())
    assert copies(cache) == []


@needs_airflow_3
def test_a_worker_does_not_choose_a_version_itself(
    shop: Path, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(shop)
    fetched(f"file://{archive}")
    (name,) = cosmos_airflow.variables.values
    cosmos_airflow.variables.put(name, "[]")

    with pytest.raises(CosmosLoadDbtException, match=f"{archive}: the Airflow Variable {name}, .*is empty or cannot"):
        in_a_worker(f"file://{archive}", monkeypatch, began=time.time())
    assert dict(cosmos_airflow.variables.values) == {name: "[]"}, "a worker notes nothing"


def test_a_parse_that_has_asked_earlier_notes_no_older_version(shop: Path, cosmos_airflow: CosmosAirflow) -> None:
    fetched(address := f"file://{packed(shop)}")
    (name,) = cosmos_airflow.variables.values
    newer = json.dumps([[time.time() + 60, "f" * 64]])  # noted while this process was unpacking
    cosmos_airflow.variables.put(name, newer)

    fetched(address)

    assert cosmos_airflow.variables.values[name] == newer


def test_a_copy_that_is_taken_without_an_answer_is_noted_as_no_new_version(
    shop: Path, cosmos_airflow: CosmosAirflow, web: SimpleNamespace
) -> None:
    archive = packed(shop)
    fetched(f"{web.url}/shop.tar.gz")
    (name,) = cosmos_airflow.variables.values
    newer = json.dumps([[time.time() - 1, "f" * 64]])  # by another machine
    cosmos_airflow.variables.put(name, newer)
    web.broken.append(True)
    os.utime(archive, (time.time() + 60,) * 2)

    fetched(f"{web.url}/shop.tar.gz")

    assert cosmos_airflow.variables.values[name] == newer


def test_a_parse_that_cannot_write_variables_says_that_no_worker_finds_its_version(
    shop: Path, cosmos_airflow: CosmosAirflow, log: pytest.LogCaptureFixture
) -> None:
    with cosmos_airflow.variables.outage():
        assert fetched(f"file://{packed(shop)}").is_dir()

    assert "A task in another process does not find the version" in log.text


def test_a_password_in_an_address_is_no_part_of_what_is_noted_or_said(
    shop: Path, cosmos_airflow: CosmosAirflow, web: SimpleNamespace, log: pytest.LogCaptureFixture, cache: Path
) -> None:
    archive = packed(shop)
    for password in ("hunter2", "hunter3"):
        fetched(web.url.replace("://", f"://mary:{password}@") + "/shop.tar.gz")
    assert len(cosmos_airflow.variables.values) == 1
    archive.unlink()

    with pytest.raises(CosmosLoadDbtException) as raised:
        fetched(web.url.replace("://", "://mary:hunter3@") + "/shop.tar.gz")

    kept = [path.read_text() for path in cache.glob("*.json")]
    for text in (str(raised.value), log.text, str(cosmos_airflow.variables.values), *map(str, cache.iterdir()), *kept):
        assert "hunter" not in text


@pytest.mark.parametrize(
    ("began", "expected"),
    [
        pytest.param(5.0, "a", id="before-the-first"),
        pytest.param(15.0, "a", id="between"),
        pytest.param(20.0, "b", id="at-the-moment"),
        pytest.param(35.0, "a", id="a-version-that-has-come-back"),
        pytest.param(None, "a", id="unknown"),
    ],
)
def test_the_version_of_a_run_is_the_newest_when_it_began(began: float | None, expected: str) -> None:
    assert version_of_run([(10.0, "a"), (20.0, "b"), (30.0, "a")], began) == expected
