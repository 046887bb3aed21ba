"""Digests of the content of files: read once, and then known by the look of the file."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.limits import ANY_SIZE, refuse_unfit, sha256_of_file

if TYPE_CHECKING:
    from cosmos_venv.dbt.kept_files import KeptFiles

SETTLED_SECONDS = 2.0
"""A file may change again within its clock's last tick, and look the same."""

_HEX_DIGITS = 64


def digest_of_file(path: Path, *, known: KeptFiles | None = None) -> str:
    """SHA-256 of a file's content, 64 hex digits.

    :param known: where digests of earlier are kept: a file that looks untouched is not read again.
    :raises OSError: when it cannot be read.
    """
    refuse_unfit(path, ANY_SIZE)
    status = path.stat()
    facts = [str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
    look = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    is_settled = max(status.st_mtime, status.st_ctime) < time.time() - SETTLED_SECONDS
    if known is not None and is_settled and len(kept := known.read(look) or b"") == _HEX_DIGITS:
        return kept.decode("ascii", errors="replace")
    digest = sha256_of_file(path)
    if known is not None and is_settled:
        known.write(look, digest.encode())
    return digest
