"""What is written down about a build: what stands in it, made by whom, when, and how."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path

from cosmos_venv.environments import integrity
from cosmos_venv.environments.installer import Installer
from cosmos_venv.environments.spec import EnvironmentSpec


def write_record(file: Path, spec: EnvironmentSpec, path: Path, *, installer: Installer, seconds: float) -> None:
    """Write down what stands in ``path``. Whatever could hold a credential is masked."""
    record = {
        "digest": spec.digest,
        "spec": spec.redacted,
        "pins": integrity.pins(path),
        "installer": {"name": installer.name, "reason": installer.reason},
        "built_by": {"pid": os.getpid(), "uid": os.getuid(), "host": socket.gethostname()},
        "built_at": datetime.now(tz=timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
