"""Changes of the CSV file of a seed between two runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.trace import ScenarioTrace
from pytest_cosmos_venv.throwaway import remove_entry

Obstacle = Literal["dangling link", "directory"]
"""The things that can stand in place of the file, so that not even root can read it."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20


class SeedEdits:
    """A dbt project whose seeds change.

    Methods with the parameter ``seed`` take the first seed by default. They raise ``ToolkitMisuse`` when the file is
    gone.

    :param project: the project on the disk.
    :param trace: the steps so far.
    """

    def __init__(self, project: SeedProject, trace: ScenarioTrace) -> None:
        self.project = project
        self.trace = trace

    def file(self, seed: str | None = None) -> Path:
        """Return the path of the CSV of a seed.

        :param seed: the name of the seed.
        """
        return self.project.file(seed)

    def digest(self, seed: str | None = None) -> str:
        """Return the hexadecimal SHA-256 of the CSV as it is now.

        :param seed: the name of the seed.
        """
        import hashlib

        hashed = hashlib.sha256()
        with self._there(seed).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hashed.update(chunk)
        return hashed.hexdigest()

    def edit(self, seed: str | None = None, csv: str | None = None) -> None:
        """Write other content into the CSV.

        :param seed: the name of the seed.
        :param csv: the content; None: the content so far with one row more.
        """
        if csv is None:
            with self._there(seed).open("ab") as stream:
                stream.write(b"%d,edited\n" % stream.tell())
        else:
            self.file(seed).write_bytes(csv.encode("utf-8"))
        self._tell("edit", seed)

    def edit_unnoticed(self, seed: str | None = None) -> None:
        """Change the last letter or digit of the CSV, and leave size and times as they were.

        :param seed: the name of the seed.
        """
        file = self._there(seed)
        content, before = file.read_bytes(), file.stat()
        position = max((n for n, byte in enumerate(content) if chr(byte).isalnum()), default=None)
        if position is None:
            raise ToolkitMisuse(f"{file} has no letter or digit that could be changed: edit(…, 'id\\n1\\n') first.")
        other = b"x" if content[position : position + 1] != b"x" else b"y"
        file.write_bytes(content[:position] + other + content[position + 1 :])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        self._tell("edit, with the same size and times,", seed)

    def change_last_byte(self, seed: str | None = None) -> None:
        """Replace the last byte of the CSV by another byte.

        :param seed: the name of the seed.
        """
        with self._there(seed).open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            last = stream.read(1)
            stream.seek(-1, os.SEEK_END)
            stream.write(b"x" if last != b"x" else b"y")
        self._tell("change the last byte of", seed)

    def touch(self, seed: str | None = None) -> None:
        """Give the CSV a later time, and leave its content alone.

        :param seed: the name of the seed.
        """
        file = self._there(seed)
        later = file.stat().st_mtime_ns + 10**9
        os.utime(file, ns=(later, later))
        self._tell("touch", seed)

    def delete(self, seed: str | None = None) -> None:
        """Remove the CSV; ``restore`` brings it back.

        :param seed: the name of the seed.
        """
        self._put_away(seed)
        self._tell("delete", seed)

    def restore(self, seed: str | None = None) -> None:
        """Restore a CSV that was deleted, made unreadable or replaced by a link, as a new file.

        :param seed: the name of the seed.
        """
        file = self.file(seed)
        kept = self.project.attic / file.name
        if not kept.exists():
            raise ToolkitMisuse(f"restore: {file.name} was neither deleted nor made unreadable before.")
        remove_entry(file)
        shutil.copyfile(kept, file)
        kept.unlink()
        self._tell("restore", seed)

    def replace_line_endings(self, seed: str | None = None) -> None:
        """Replace the line endings of the CSV by those of Windows.

        :param seed: the name of the seed.
        """
        file = self._there(seed)
        lines = file.read_bytes().replace(b"\r\n", b"\n")
        file.write_bytes(lines.replace(b"\n", b"\r\n"))
        self._tell("end lines as Windows does in", seed)

    def add_byte_order_mark(self, seed: str | None = None) -> None:
        """Put the mark of UTF-8 before the CSV's first character.

        :param seed: the name of the seed.
        """
        file = self._there(seed)
        file.write_bytes(_BYTE_ORDER_MARK + file.read_bytes())
        self._tell("add a byte order mark to", seed)

    def make_unreadable(self, seed: str | None = None, by: Obstacle = "dangling link") -> None:
        """Replace the CSV by something that not even root can read; ``restore`` brings the CSV back.

        :param seed: the name of the seed.
        :param by: ``dangling link`` or ``directory``.
        """
        path = self._put_away(seed)
        if by == "directory":
            path.mkdir()
        else:
            path.symlink_to(self.project.attic / "gone.csv")
        self._tell(f"put a {by} in the place of", seed)

    def replace_by_link(self, seed: str | None = None) -> None:
        """Put a symbolic link to a file elsewhere with the same content in the CSV's place.

        :param seed: the name of the seed.
        """
        file = self._put_away(seed)
        file.symlink_to(self.project.attic / file.name)
        self._tell("put a link to the same content in the place of", seed)

    def grow(self, seed: str | None = None, *, size: int) -> None:
        """Extend the CSV with zero bytes, as a sparse file. A real dbt could not parse such a file.

        :param seed: the name of the seed.
        :param size: the new size in bytes.
        """
        file = self._there(seed)
        if size <= file.stat().st_size:
            raise ToolkitMisuse(f"grow({size}): {file.name} has {file.stat().st_size} bytes; give more.")
        os.truncate(file, size)
        self._tell(f"grow to {size} bytes:", seed)

    def set_manifest_checksum(self, checksum: str | None) -> None:
        """Write a checksum of every seed into ``manifest.json``.

        :param checksum: the checksum; None removes the checksums.
        """
        self.project.set_manifest_checksum(checksum)
        self.trace.add(f"write the checksum {checksum} into the manifest")

    def _there(self, seed: str | None) -> Path:
        file = self.file(seed)
        if not file.is_file():
            raise ToolkitMisuse(f"{file.name} is not there any more: restore it first.")
        return file

    def _put_away(self, seed: str | None) -> Path:
        """Copy the file into the attic, remove it, and return its path."""
        file = self._there(seed)
        if not file.is_symlink():
            shutil.copyfile(file, self.project.attic / file.name)
        remove_entry(file)
        return file

    def _tell(self, what: str, seed: str | None) -> None:
        self.trace.add(f"{what} {self.file(seed).name}")
