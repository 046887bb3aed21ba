"""Where does one dbt command write its artifacts and its log? Whoever has said it: a flag, a variable, or nobody."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE
from cosmos_venv.dbt.results import Artifacts

_TARGET, _LOGS = "TARGET_PATH", "LOG_PATH"
_NEW_PREFIX, _PREFIX = "DBT_ENGINE_", "DBT_"
FOLDER_VARIABLES = tuple(f"{prefix}{name}" for name in (_TARGET, _LOGS) for prefix in (_NEW_PREFIX, _PREFIX))
"""The environment variables by which dbt is told where to write; dbt 1.11 knows the longer ones, and prefers them."""


def named_folders(env: Mapping[str, str], given: Mapping[str, object]) -> dict[str, str]:
    """Where the user wants dbt to write. What merely the worker says would mix the artifacts of its commands.

    :param env: the variables for dbt, the worker's own among them.
    :param given: those that the user has given for it.
    """
    named = {name: env[name] for name in FOLDER_VARIABLES if name in env}
    return {name: value for name, value in named.items() if name in given or os.environ.get(name) != value}


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The folders that one dbt command writes to: those that its user has named, else those of its workspace."""

    place: Path
    target: Path
    logs: Path

    @classmethod
    def of(cls, place: Path, env: Mapping[str, str], arguments: Sequence[str] = ()) -> Outputs:
        """As dbt decides it: a flag wins over a variable, a relative path counts from ``place``.

        :param place: the workspace in which the command runs.
        :param arguments: its command line.
        """
        target = _flag(arguments, "--target-path") or _variable(env, _TARGET) or "target"
        logs = _flag(arguments, "--log-path") or _variable(env, _LOGS) or "logs"
        return cls(place=place, target=place / target, logs=place / logs)

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables by which dbt writes there, whatever dbt_project.yml says.

        Its log file is in JSON, unless ``env`` says otherwise, so that errors can be told from the rest.
        """
        named = {f"{_PREFIX}{_TARGET}": str(self.target), f"{_PREFIX}{_LOGS}": str(self.logs)}
        others = {name: value for name, value in env.items() if name not in FOLDER_VARIABLES}
        return {"DBT_LOG_FORMAT_FILE": "json", **self._parse_variables(), **others, **named}

    def _parse_variables(self) -> dict[str, str]:
        """A dbt that writes elsewhere reads what the workspace offers, or nothing.

        The parse file that it has left there names the folder of another run, which is gone.
        """
        offered = self.place / "target" / PARTIAL_PARSE_FILE
        if self.target == offered.parent:
            return {}
        return {"DBT_PARTIAL_PARSE_FILE_PATH": str(offered)} if offered.exists() else {"DBT_PARTIAL_PARSE": "False"}

    def artifacts(self) -> Artifacts:
        """What a command that begins now will leave."""
        log_file = self.logs / "dbt.log"
        return Artifacts(
            target=self.target,
            log_file=log_file,
            log_begins_at=log_file.stat().st_size if log_file.exists() else 0,
            began_at=time.time(),
        )


def downloading_in_place(place: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for ``dbt deps``: what it downloads goes with ``place``, also when it is killed."""
    downloads = place / "target" / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    return {**env, "TMPDIR": str(downloads)}


def _variable(env: Mapping[str, str], name: str) -> str | None:
    return env.get(f"{_NEW_PREFIX}{name}") or env.get(f"{_PREFIX}{name}")


def _flag(arguments: Sequence[str], flag: str) -> str | None:
    """Its last value, given as a word of its own or behind an equals sign."""
    value = None
    for number, word in enumerate(arguments):
        if word == flag:
            value = arguments[number + 1] if number + 1 < len(arguments) else value
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value
