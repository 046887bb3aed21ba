"""The record of an archive, and why it can be trusted: what is fetched is run.

A record is one JSON text. It is signed with a key that all machines of a deployment share (HMAC with SHA-256), or its
SHA-256 stands in a lock file of the project. The record names the SHA-256 of its archive, so both are safe then. It
names its platform and its environment too, so that no archive can be put in the place of another one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone

from cosmos_venv.environments.archive.packing import BadArchive, Contents
from cosmos_venv.environments.environment import BuildRecord, RecordedBuilder
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.untrusted import parsed


class NotTrusted(VirtualenvError):
    """A record that nobody who is trusted has signed. The text says why, as a clause."""


@dataclass(frozen=True, kw_only=True)
class ArchiveRecord:
    """What a remote store says of one environment.

    :param name: the portable digest of its spec, 64 hexadecimal digits.
    :param platform: key of the platforms that can use it, as ``platform_key`` gives it.
    :param contents: of its archive.
    :param commands: names of the commands in ``bin``.
    :param build: the record of its build, with the digest of the builder's machine.
    :param pushed_by: the process that packed it.
    :param pushed_at: ISO 8601, in UTC.
    """

    name: str
    platform: str
    contents: Contents
    commands: tuple[str, ...]
    build: BuildRecord
    pushed_by: RecordedBuilder
    pushed_at: str

    @classmethod
    def of(
        cls, name: str, platform: str, contents: Contents, commands: Iterable[str], build: BuildRecord
    ) -> ArchiveRecord:
        """Return the record of an archive that this process has packed now.

        :param name: the portable digest.
        :param platform: the platform's key.
        :param contents: of the archive.
        :param commands: names of the commands in ``bin``.
        :param build: the record of the build.
        """
        return cls(
            name=name,
            platform=platform,
            contents=contents,
            commands=tuple(commands),
            build=build,
            pushed_by=RecordedBuilder(pid=os.getpid(), uid=os.getuid(), host=socket.gethostname()),
            pushed_at=datetime.now(tz=timezone.utc).isoformat(timespec="seconds"),
        )

    def to_json(self) -> str:
        """Return the record as the text that is signed."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Signer:
    """The signing of records, and the check of those of other machines. Its text does not show the key.

    :param key: secret that all machines of the deployment share, at least 16 bytes; empty: there is none.
    :param locked: SHA-256 of records that a lock file names, by portable digest and platform key.
    """

    key: bytes = field(default=b"", repr=False)
    locked: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def sign(self, record: ArchiveRecord) -> bytes:
        """Return the text under which a record is kept.

        :param record: of an archive.
        """
        text = record.to_json()
        envelope = {"record": text}
        if self.key:
            envelope["hmac_sha256"] = self._signature(text)
        return json.dumps(envelope, ensure_ascii=False).encode()

    def open(self, content: bytes, *, name: str, platform: str) -> ArchiveRecord:
        """Return the record of a text that ``sign`` has made here or elsewhere.

        :param content: as it was kept.
        :param name: the portable digest that was asked for.
        :param platform: the key of this platform.
        :raises BadArchive: when it is no record, or one of another release, or says what no builder says.
        :raises NotTrusted: when nobody who is trusted has signed it, or it belongs to another environment.
        """
        text, signature = opened(content)
        self._judge(text, signature, name=name, platform=platform)
        try:
            record = parsed(text, ArchiveRecord)
        except ValueError as error:
            raise BadArchive(f"its record is of another release ({error})") from None
        if (record.name, record.platform) != (name, platform):
            raise NotTrusted("its record belongs to another environment")
        _refuse_what_none_has(record)
        return record

    def _judge(self, text: str, signature: str, *, name: str, platform: str) -> None:
        locked = self.locked.get((name, platform))
        if locked is not None:
            # Where a lock file names the environment, a signature alone does not do: another build is another pin.
            if digest_of_record(text) != locked:
                raise NotTrusted("it is another one than the lock file names")
            return
        if not self.key:
            raise NotTrusted("the lock file does not name it, and there is no key")
        if not signature:
            raise NotTrusted("it is not signed")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            raise NotTrusted("it is signed with another key")

    def _signature(self, text: str) -> str:
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


def _refuse_what_none_has(record: ArchiveRecord) -> None:
    if refusal := record.contents.why_too_large():
        raise BadArchive(refusal)
    for name in record.commands:
        if "/" in name or name in ("", ".", ".."):
            raise BadArchive(f"its record names a command {name!r}")


def digest_of_record(text: str) -> str:
    """Return what a lock file names a record by: its SHA-256, 64 hexadecimal digits.

    :param text: of ``ArchiveRecord.to_json``.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def opened(content: bytes) -> tuple[str, str]:
    """Return the text of a record and its signature, which is empty where there is none.

    :param content: of ``Signer.sign``.
    :raises BadArchive: when it is no record.
    """
    try:
        envelope = parsed(content, dict[str, str])
        return envelope["record"], envelope.get("hmac_sha256", "")
    except (ValueError, KeyError) as error:
        raise BadArchive("its record is damaged") from error
