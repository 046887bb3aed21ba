"""The address of a dbt project that lies elsewhere: an archive, a folder of object storage, or a commit of git."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.remote.remote_file import WEB

_GIT = "git+"
_COMMIT = "[0-9a-f]{40}"
_SHA256 = "([0-9a-f]{64})?"
_ARCHIVE = r"\.(tar(\.\w+)?|tgz|zip)$"
_NO_NAME = r"[^\w.-]"


class ProjectAddress(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a project that lies elsewhere.

    :param kind: of the place.
    :param url: of the archive, the folder or the repository. Credentials may be in it.
    :param version: the commit, or the SHA-256 of the archive, that the address names; empty: what is there counts.
    :param subdirectory: of the project in the archive or repository; empty: its top.
    :param conn_id: id of an Airflow connection; None: the default one of the storage, where there is any.
    """

    kind: Literal["archive", "folder", "git"]
    url: str
    version: str = ""
    subdirectory: str = ""
    conn_id: str | None = None

    @classmethod
    def of(cls, text: str, conn_id: str | None) -> ProjectAddress:
        """The address that a user has given.

        :param text: ``s3://bucket/shop.tar.zst``, ``s3://bucket/shop``, ``git+https://host/repo.git@<40 hex digits>``,
            with ``#subdirectory=shop`` or, for an archive, ``#sha256=<64 hex digits>``, as pip has them.
        :param conn_id: id of an Airflow connection; None: none is given.
        :raises CosmosValueError: when it is no such address, with the way out.
        """
        url, _, fragment = text.partition("#")
        options = dict(parse_qsl(fragment, keep_blank_values=True))
        version, subdirectory = options.pop("sha256", ""), options.pop("subdirectory", "")
        kind: Literal["archive", "folder", "git"]
        kind = "git" if url.startswith(_GIT) else "archive" if re.search(_ARCHIVE, urlsplit(url).path) else "folder"
        if options or (version and kind != "archive") or not re.fullmatch(_SHA256, version):
            _refuse(text, "behind # stand subdirectory= and, of an archive, sha256= with 64 hex digits. Correct it")
        if kind == "folder" and urlsplit(url).scheme.lower() in WEB:
            _refuse(text, "the files of a folder on a web server cannot be listed. Give an archive (.tar.gz, .zip)")
        if kind == "git":
            url, version = _commit_of(url.removeprefix(_GIT), text, conn_id)
        return cls(kind=kind, url=url, version=version, subdirectory=subdirectory, conn_id=conn_id)

    def __str__(self) -> str:
        return mask(self.url)

    __repr__ = __str__  # a traceback may show it

    @property
    def name(self) -> str:
        """The name of the archive, folder or repository, without its suffix: a name for a folder on this machine."""
        parts = urlsplit(self.url)
        last = PurePosixPath(unquote(parts.path)).name or parts.hostname or ""
        return re.sub(_NO_NAME, "_", re.sub(_ARCHIVE, "", last).removesuffix(".git")).strip(".") or "project"


def _commit_of(address: str, text: str, conn_id: str | None) -> tuple[str, str]:
    """The URL of a repository, and the commit behind its last ``@``."""
    url, _, commit = address.rpartition("@")
    if not re.fullmatch(_COMMIT, commit):
        _refuse(
            text,
            "it names no full commit, and with a branch or tag parse and tasks might see different ones. End it with "
            "@ and the 40 digits that `git rev-parse HEAD` prints",
        )
    parts = urlsplit(url)
    # git writes its address on the command line of its helpers; only what HTTP knows as a login goes another way.
    if parts.query or (parts.scheme not in WEB and (parts.password or conn_id)):
        _refuse(
            text, "other processes would see its password or query. Give git+https:// with a login, or a key of ssh"
        )
    return url, commit


def _refuse(text: str, reason: str) -> None:
    raise CosmosValueError(f"ProjectConfig.dbt_project_path={mask(text)!r}: {reason}.")
