"""How is a wheel written without a build backend? The format is a zip file with four well-known texts in it."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Zip knows no time before 1980; a fixed one makes equal wheels equal bytes.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A pure Python distribution.

    :param name: of the distribution, in any spelling.
    :param files: path inside the wheel -> text.
    :param requires: requirement strings.
    :param console_scripts: command -> ``module:function``.
    """

    name: str
    version: str
    files: Mapping[str, str]
    requires: tuple[str, ...] = ()
    console_scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """As the binary distribution format has it, for every Python 3 and platform."""
        return f"{self._stem}-py3-none-any.whl"

    @property
    def contents(self) -> dict[str, str]:
        """Every file of the wheel but its ``RECORD``."""
        info = self._info
        texts = {**self.files, f"{info}/METADATA": self._metadata, f"{info}/WHEEL": _WHEEL_FILE}
        if self.console_scripts:
            lines = [f"{command} = {target}" for command, target in self.console_scripts.items()]
            texts[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
        return texts

    @property
    def record(self) -> tuple[str, str]:
        """Path and text of ``RECORD``: each file with its hash and size, itself without."""
        path = f"{self._info}/RECORD"
        rows = [_record_row(name, text) for name, text in self.contents.items()]
        return path, "\n".join([*rows, f"{path},,", ""])

    @property
    def _stem(self) -> str:
        return f"{re.sub(r'[-_.]+', '_', self.name).lower()}-{self.version}"

    @property
    def _info(self) -> str:
        return f"{self._stem}.dist-info"

    @property
    def _metadata(self) -> str:
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join([*lines, ""])


_WHEEL_FILE = "Wheel-Version: 1.0\nGenerator: pytest-cosmos-venv\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(wheel: Wheel, folder: Path) -> Path:
    """Write the wheel into an existing ``folder`` and return its path; an older one of the name is replaced."""
    path = folder / wheel.filename
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for name, text in [*wheel.contents.items(), wheel.record]:
            entry = zipfile.ZipInfo(name, date_time=_TIMESTAMP)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return path


def _record_row(name: str, text: str) -> str:
    content = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"
