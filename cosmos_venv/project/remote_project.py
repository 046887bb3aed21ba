"""A dbt project that lies elsewhere: a copy of each version on this machine, in a folder of its own.

A copy is made under a temporary name and published by an atomic rename, so it is complete or absent. The DAG processor
asks for the newest version, and notes it in an Airflow Variable. A worker asks only for the version that was the newest
when its run began: all tasks of a run see one version.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tarfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import msgspec

from cosmos_venv import compat, settings
from cosmos_venv.credentials import mask, remove
from cosmos_venv.environments.archive import BadArchive, zstd
from cosmos_venv.exceptions import CosmosLoadDbtException, VirtualenvError
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.own_files import age, is_private, make_private, temporary_name
from cosmos_venv.files.read_limits import value_of
from cosmos_venv.managed import caches, resolve
from cosmos_venv.processes.guarded_process import run_guarded
from cosmos_venv.processes.inherited_environment import inherited_environment
from cosmos_venv.project.remote_manifest import warn_of_copy
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import RemoteFolder
from cosmos_venv.remote.project_address import ProjectAddress
from cosmos_venv.remote.remote_file import RemoteFile

logger = logging.getLogger(__name__)

Takes = Callable[[str], bool]
"""A function that says whether the files of a version are wanted."""

_PATIENCE = 300.0  # seconds, where Airflow sets no time-out
_KEPT = 30 * 86_400.0
_REFRESHED = 300.0  # seconds: a copy in use must look newer than an unused one, but not each parse should write
_MOST_VERSIONS = 50
_ZIP, _ZSTANDARD = b"PK\x03\x04", b"\x28\xb5\x2f\xfd"
_DESCRIPTION = "Versions of a dbt project that cosmos-venv has seen elsewhere. Runs of DAGs that go on need it."


class Found(msgspec.Struct, frozen=True):
    """A version of a project.

    :param version: hexadecimal digits: SHA-256 of an archive or of the list of a folder's files, or a commit.
    :param facts: by which a server can tell whether an archive has changed; empty for a folder and a repository.
    """

    version: str
    facts: dict[str, str] = {}


_NONE = Found("")


def copy_of(address: ProjectAddress) -> Path:
    """The folder of a project that lies elsewhere, in a copy on this machine, which is fetched where it is missing.

    :param address: of the project.
    :raises CosmosLoadDbtException: when the version that is needed cannot be had; names the address.
    """
    shared = compat.shared_by_import()
    # Groups of one DAG file ask once, and see one version.
    copies: dict[ProjectAddress, Path] = {} if shared is None else shared.setdefault(__name__, {})
    if address not in copies:
        copies[address] = _RemoteProject(address).folder()
    return copies[address]


def version_of_run(history: Sequence[tuple[float, str]], began: float | None) -> str:
    """The version that all tasks of a run see: the newest one when it began.

    :param history: when each version was first seen, in seconds since the epoch, and the version; at least one.
    :param began: when the run began; None: nobody knows.
    """
    seen = [version for since, version in history if began is None or since <= began]
    return seen[-1] if seen else history[0][1]


class _RemoteProject:
    """A project that lies elsewhere, and its copies.

    :param address: of the project.
    """

    def __init__(self, address: ProjectAddress) -> None:
        self.address = address
        self.root = caches.cache_dir() / "projects-v1"
        # The password is left out: with a new password it is the same project.
        self.digest = hashlib.sha256(json.dumps([remove(address.url), address.conn_id]).encode()).hexdigest()
        self.variable = f"cosmos_venv_project_{self.digest[:32]}"

    def _path(self, version: str) -> Path:
        """Where the copy of a version stands, or would stand."""
        # Each folder of an archive has a copy: only with its name is the folder around everything left out.
        return self.root / "-".join((version, self.address.name, *PurePosixPath(self.address.subdirectory).parts))

    def folder(self) -> Path:
        """The folder with the project of the version that this process needs."""
        is_for_task = compat.dag_to_run() is not None
        try:
            with compat.import_time_out_paused(for_task=is_for_task):
                version = self.address.version or (self._version_of_task() if is_for_task else "")
                if version:
                    self._fetch_only(version)
                else:
                    version = self._newest()
        except (OSError, VirtualenvError) as error:
            raise self._error(
                f"it cannot be fetched: {mask(str(error))}. Correct it, or dbt_project_conn_id={self.address.conn_id!r}"
            ) from None
        copy = self._path(version)
        if age(copy.stat().st_mtime) > _REFRESHED:
            os.utime(copy)
        return copy / self.address.name / self.address.subdirectory

    def _error(self, reason: str) -> CosmosLoadDbtException:
        return CosmosLoadDbtException(f"ProjectConfig.dbt_project_path {self.address}: {reason}.")

    def _fetch_only(self, wanted: str) -> None:
        if self._path(wanted).is_dir():
            return
        if self._fetch(_NONE, lambda version: version == wanted).version != wanted:
            raise self._error(
                f"it is not of version {wanted[:12]} now, which its sha256 or this run of the DAG names, and this "
                "worker has no copy of that version. Correct the sha256, or clear the run: it takes the new version"
            )

    def _version_of_task(self) -> str:
        """The version of the run of this process's task."""
        if not (history := self._history()):
            raise self._error(
                f"the Airflow Variable {self.variable}, in which the DAG processor notes its versions, is empty or "
                "cannot be read. Have the DAG file parsed once more"
            )
        version, newest = version_of_run(history, compat.run_began()), history[-1][1]
        if version != newest:
            said = (
                "This run has version %s of %s, the newest when it began; now it is %s. A task of a newer node fails."
            )
            logger.warning(said, version[:12], self.address, newest[:12])
        return version

    def _history(self) -> list[tuple[float, str]]:
        return value_of(compat.variable(self.variable), list[tuple[float, str]]) or []

    def _note(self, version: str, asked: float) -> None:
        """Note the answer that the DAG processor got to a question at a time, for tasks on all machines."""
        try:
            history = self._history()
            # A process that has asked later may have noted a newer version already.
            if not history or (history[-1][1] != version and history[-1][0] < asked):
                newest = [*history, (time.time(), version)][-_MOST_VERSIONS:]
                compat.set_variable(self.variable, json.dumps(newest), _DESCRIPTION)
        except Exception as error:  # noqa: BLE001 - a command of Airflow 3 or a script cannot write Variables
            said = (
                "A task in another process does not find the version of %s. A command of Airflow 3 or a script cannot "
                "note the version in the Airflow Variable %s: %s"
            )
            logger.warning(said, self.address, self.variable, mask(str(error)))

    def _newest(self) -> str:
        """The newest version, fetched; when there is no answer, the last known version, with a warning."""
        kept = FileCache(folder=self.root, suffix=".json", most=1_000)
        # The time of the file says when the version was last known to be current.
        last = value_of(kept.read(self.digest, is_noted=False), Found) or _NONE
        known = last if self._path(last.version).is_dir() else _NONE
        asked = time.time()
        try:
            found = self._fetch(known, lambda version: not self._path(version).is_dir())
        except RemoteError as error:
            if known is _NONE or error.has_answered:
                raise
            warn_of_copy(f"ProjectConfig.dbt_project_path {self.address}", error, kept.path(self.digest))
            return known.version
        kept.write(self.digest, msgspec.json.encode(found))
        self._note(found.version, asked)
        return found.version

    def _fetch(self, known: Found, takes: Takes) -> Found:
        """Ask for the current version, and publish a copy of it if ``takes`` says so."""
        make_private(self.root)
        if not is_private(self.root):
            raise BadArchive(f"others may write to {self.root}: chmod go-w it, or set another [cosmos_venv] cache_dir")
        with temporary_name(self.root) as apart:
            unpacked = apart / "unpacked"
            unpacked.mkdir(parents=True)
            fetch = {"archive": self._fetch_archive, "folder": self._fetch_folder, "git": self._fetch_commit}
            found = fetch[self.address.kind](known, takes, unpacked, resolve.seconds_for_a_parse() or _PATIENCE)
            if takes(found.version):
                self._publish(apart, self._path(found.version))
        return found

    def _publish(self, apart: Path, copy: Path) -> None:
        unpacked = apart / "unpacked"
        top = [*unpacked.iterdir()]
        project_file = Path(self.address.subdirectory, "dbt_project.yml")
        if len(top) == 1 and not (unpacked / project_file).exists():
            (unpacked,) = top  # most archives have a folder around everything
        if not (unpacked / project_file).is_file():
            raise BadArchive(f"there is no {project_file} in it; #subdirectory= names the folder of the project")
        whole = apart / "whole"
        whole.mkdir()
        unpacked.rename(whole / self.address.name)
        try:
            whole.rename(copy)
        except OSError:
            if not copy.is_dir():  # another process was faster
                raise
        logger.info("Fetched version %s of %s.", copy.name[:12], self.address)
        for other in self.root.glob("[0-9a-f]*-*"):
            with suppress(OSError):  # another process removes it, too
                if age(other.stat().st_mtime) > _KEPT:
                    with temporary_name(self.root) as rubbish:
                        other.rename(rubbish)

    def _fetch_archive(self, known: Found, takes: Takes, unpacked: Path, seconds: float) -> Found:
        file = RemoteFile(url=self.address.url, conn_id=self.address.conn_id)
        copy = file.read(known=known.facts, seconds=seconds, limit=settings.limit("artifact_max_bytes"))
        if copy is None:
            return known
        version = hashlib.sha256(copy.content).hexdigest()
        if takes(version):
            _unpack(copy.content, unpacked)
        return Found(version, dict(copy.version))

    def _fetch_folder(self, _: Found, takes: Takes, unpacked: Path, seconds: float) -> Found:
        folder = RemoteFolder(url=self.address.url, conn_id=self.address.conn_id)
        limit = settings.limit("artifact_max_bytes")
        files = folder.files(seconds=seconds, limit=limit)
        version = hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()
        if takes(version):
            folder.copy(files, unpacked, seconds=seconds)
            if folder.files(seconds=seconds, limit=limit) != files:
                raise BadArchive("it has changed while it was copied. The next try copies it anew")
        return Found(version)

    def _fetch_commit(self, _: Found, __: Takes, unpacked: Path, seconds: float) -> Found:
        from cosmos_venv.environments.installers.installer import git_apart

        variables, (url,) = git_apart([f"git+{self._with_login()}"], os.environ)
        env = {**inherited_environment(), **variables, "GIT_TERMINAL_PROMPT": "0"}
        commit, archive, end = self.address.version, unpacked.with_name("archive"), time.monotonic() + seconds

        def on_tick() -> None:
            if time.monotonic() > end:
                raise BadArchive(f"git did not end within {seconds:.0f} s")

        for words in (
            ["init", "--quiet", "--bare"],
            ["fetch", "--quiet", "--no-tags", "--depth=1", url.removeprefix("git+"), commit],
            ["archive", "--format=tar", f"--output={archive}", commit],
        ):
            command = ["git", f"--git-dir={unpacked.with_name('repository')}", *words]
            done = run_guarded(command, env=env, on_tick=on_tick)
            if done.returncode:
                raise BadArchive(f"git {words[0]}: {'; '.join(done.lines[-3:])}")
        _unpack(archive.read_bytes(), unpacked)
        return Found(commit)

    def _with_login(self) -> str:
        """The URL of a repository, with login and password of the connection."""
        if self.address.conn_id is None:
            return self.address.url
        connection = compat.get_connection(self.address.conn_id)
        scheme, _, rest = remove(self.address.url).partition("://")
        login, password = (quote(each or "", safe="") for each in (connection.login, connection.password))
        return f"{scheme}://{login}:{password}@{rest}"


def _unpack(content: bytes, folder: Path) -> None:
    """Unpack a zip archive, or a tar archive with any compression that this Python knows.

    :raises BadArchive: when the archive is damaged, or a member leads out of the folder.
    """
    file = io.BytesIO(content)
    try:
        if content.startswith(_ZIP):
            with zipfile.ZipFile(file) as archive:
                if odd := [name for name in archive.namelist() if name.startswith("/") or ".." in name.split("/")]:
                    raise ValueError(f"{odd[0]!r} leads out of the folder")
                archive.extractall(folder)  # noqa: S202 - each member is judged
            return
        with (
            zstd().ZstdFile(file) if content.startswith(_ZSTANDARD) else file as stream,
            tarfile.open(fileobj=stream) as tar,
        ):
            tar.extractall(folder, filter=tarfile.data_filter)  # noqa: S202 - which judges each member
            # tarfile takes a missing end for the end: an archive that is being written would be half a project.
            if tar.fileobj.tell() < tar.offset + tarfile.BLOCKSIZE:
                raise ValueError("its end is missing")
    except (OSError, VirtualenvError):
        raise
    except Exception as error:  # each of the formats has errors of its own
        raise BadArchive(f"it cannot be unpacked: {error}") from error
