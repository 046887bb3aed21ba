"""Faults by which others get to read a secret."""

from __future__ import annotations

import json
import os
import pwd
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .doing import DoesOtherwise
from .mutant import Original


def secrets_in(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that dbt gets from a Connection, and the worker's own environment has not."""
    return {name: value for name, value in env.items() if name not in os.environ}


class RunsDbtBadly(DoesOtherwise):
    """Whoever starts dbt has its secrets at hand."""

    method = "run_subprocess"

    def do(
        self, operator: Any, sound: Original, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any
    ) -> Any:
        return sound(self.spread(operator, command, env), env, cwd, **kwargs)

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        """Let the secrets be seen.

        :return: the command to run.
        """
        raise NotImplementedError


class KeepsTheVariables(RunsDbtBadly):
    """Keeps what dbt was given, so that its command can be repeated by hand."""

    kills = "SEC-001"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        file = Path(tempfile.mkdtemp(), "variables.json")
        file.write_text(json.dumps(secrets_in(env)), encoding="utf-8")
        return command


class LetsOthersReadTheProfile(DoesOtherwise):
    """Writes what dbt needs into a folder that everybody may enter, and removes it when dbt has ended."""

    kills = "SEC-001"
    method = "run_subprocess"

    def do(
        self, operator: Any, sound: Original, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any
    ) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            Path(folder, "profiles.yml").write_text(json.dumps(secrets_in(env)), encoding="utf-8")
            return sound(command, env, cwd, **kwargs)


class KeepsTheProfileAtHome(RunsDbtBadly):
    """Writes what dbt needs where dbt looks for profiles by itself, and leaves it there for the next time."""

    kills = "SEC-001"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        file = Path.home() / ".dbt" / "profiles.yml"
        # Others meet it too, in the home of whoever runs the mutants.
        if Path.home() != Path(pwd.getpwuid(os.getuid()).pw_dir):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(secrets_in(env)), encoding="utf-8")
        return command


class KeepsTheVariablesWhereSocketsAre(RunsDbtBadly):
    """Writes what dbt was given into the user's folder for sockets, where the next task may find it."""

    kills = "SEC-001"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        file = Path(os.environ["XDG_RUNTIME_DIR"], "variables.json")
        file.write_text(json.dumps(secrets_in(env)), encoding="utf-8")
        return command


class LogsTheVariables(RunsDbtBadly):
    """Says with which variables dbt is run."""

    kills = "SEC-002"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        operator.log.info("Running dbt with %s", secrets_in(env))
        return command


class GivesThePasswordAsAnArgument(RunsDbtBadly):
    """Hands on what the profile needs by `--vars`."""

    kills = "SEC-002"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        return [*command, "--vars", json.dumps(secrets_in(env))]


class SetsTheVariablesOfTheWorker(RunsDbtBadly):
    """Sets the variables of the profile where dbt inherits them, in the worker's own environment."""

    kills = "SEC-002"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        os.environ.update(secrets_in(env))
        return command


class ShowsTheVariables(RunsDbtBadly):
    """Puts what dbt was given into the operator's rendered fields, where `env` stands too."""

    kills = "SEC-002"

    def spread(self, operator: Any, command: list[str], env: dict[str, str]) -> list[str]:
        operator.env = {**(operator.env or {}), **secrets_in(env)}
        return command


class LogsTheInstallOptions(DoesOtherwise):
    """Says with which options the environment is installed."""

    kills = "SEC-003"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        operator.log.info("Installing with %s", operator.pip_install_options)
        return sound(*args, **kwargs)


class TellsTheInstallOptions(DoesOtherwise):
    """Names the options in the error of an installation that has failed."""

    kills = "SEC-003"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        try:
            return sound(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - what goes wrong is told anew
            raise RuntimeError(f"{operator.pip_install_options}: {error}") from None


class IgnoresTheUmask(DoesOtherwise):
    """Takes back the umask, so that a group may share what is made."""

    kills = "SEC-004"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        os.umask(0)
        return sound(*args, **kwargs)


class OpensTheDirectoryToAll(DoesOtherwise):
    """Opens `virtualenv_dir` to everybody while dbt runs, which may run as another user."""

    kills = "SEC-004"
    method = "run_subprocess"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if operator.virtualenv_dir is None:
            return sound(*args, **kwargs)
        folder = Path(operator.virtualenv_dir)
        folder.chmod(0o777)
        try:
            return sound(*args, **kwargs)
        finally:
            folder.chmod(0o755)  # as cosmos-venv wants it of one that it is to use again
