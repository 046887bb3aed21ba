"""The profile by which dbt reaches the warehouse."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cosmos_venv.config.validation import NamedArguments, require, yaml_file
from cosmos_venv.constants import DEFAULT_PROFILES_FILE_NAME
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.own_files import naming
from cosmos_venv.files.read_limits import refuse_unfit_file

_PREFIX = "cosmos-venv-profile-"


class ProfileMapping(Protocol):
    """An object that turns an Airflow connection into a dbt profile; see ``cosmos_venv.profiles``."""

    @property
    def dbt_profile_type(self) -> str:
        """The name of the dbt adapter, such as ``duckdb``."""

    @property
    def env_vars(self) -> dict[str, str]:
        """Environment variables that dbt needs to read the profile: its secrets."""

    def get_profile_file_contents(self, profile_name: str, target_name: str = ..., use_mock_values: bool = ...) -> str:
        """The text of a ``profiles.yml``.

        :param profile_name: the profile in it.
        :param target_name: the target (output) in that profile.
        :param use_mock_values: whether it gets invented values, which are good for parsing only.
        """


@dataclass
class ProfileConfig(NamedArguments):
    """The profile by which dbt reaches the warehouse: in a ``profiles.yml`` of the user, or of an Airflow connection.

    :param profile_name: the profile in ``profiles.yml``.
    :param target_name: the target (output) in that profile.
    :param profiles_yml_filepath: the user's own file. Exactly one of this and ``profile_mapping`` is given. A relative
        path counts from the working directory of the process that runs dbt: better give the whole path.
    :param profile_mapping: an object of ``cosmos_venv.profiles``.
    :raises CosmosValueError: when neither source is given, or both are.
    """

    profile_name: str
    target_name: str
    profiles_yml_filepath: str | Path | None = None
    profile_mapping: ProfileMapping | None = None

    def __post_init__(self) -> None:
        if bool(self.profiles_yml_filepath) == (self.profile_mapping is not None):
            found = "both are given" if self.profile_mapping is not None else "neither is given"
            raise CosmosValueError(
                "ProfileConfig takes exactly one of profiles_yml_filepath (your own file) and profile_mapping "
                f"(an Airflow connection); {found}."
            )

    def validate_profiles_yml(self) -> None:
        """Look at the user's own file, where one was given.

        :raises CosmosValueError: when the user's own file was given and is not there, or is too long.
        """
        if self.profiles_yml_filepath:
            path = Path(self.profiles_yml_filepath)
            require(path.exists(), "ProfileConfig.profiles_yml_filepath", path, "profiles.yml")
            try:
                refuse_unfit_file(path)
            except OSError as error:
                reason = error.strerror or error
                raise CosmosValueError(
                    f"ProfileConfig.profiles_yml_filepath {path} cannot be read: {reason}."
                ) from error

    def get_profile_type(self) -> str:
        """The name of the dbt adapter, such as ``duckdb``: the mapping's, or what the file's target says.

        :raises CosmosValueError: when the file has no such profile, target or type.
        """
        if self.profile_mapping is not None:
            return self.profile_mapping.dbt_profile_type
        self.validate_profiles_yml()
        value = yaml_file(Path(str(self.profiles_yml_filepath)))
        where = f"{self.profiles_yml_filepath}"
        for key in (self.profile_name, "outputs", self.target_name, "type"):
            if not isinstance(value, dict) or key not in value:
                known = f" (it has: {', '.join(map(str, value))})" if isinstance(value, dict) else ""
                raise CosmosValueError(
                    f"{where} has no key {key!r}{known}. Write it there, or correct profile_name "
                    f"{self.profile_name!r} or target_name {self.target_name!r} of ProfileConfig."
                )
            value, where = value[key], f"{where}: {key}"
        return str(value)

    def advice_about(self, failure: str) -> str:
        """A line about what the user's own file lacks, when dbt has failed because of a missing profile or target; else
        empty.

        dbt names neither the file nor the profiles in it.

        :param failure: what dbt has said.
        """
        if not self.profiles_yml_filepath or not re.search(r"Could not find profile|does not have a target", failure):
            return ""
        try:
            self.get_profile_type()
        except CosmosValueError as error:
            return f"\n{error}"
        return ""

    def flags(self, profiles_yml: Path) -> list[str]:
        """The arguments by which dbt is told to use this profile and target.

        :param profiles_yml: the file that holds them.
        """
        profile = ["--profile", self.profile_name, "--target", self.target_name]
        return ["--profiles-dir", str(profiles_yml.parent), *profile]

    @contextlib.contextmanager
    def ensure_profile(self, *, use_mock_values: bool = False) -> Iterator[tuple[Path, dict[str, str]]]:
        """The path of a ``profiles.yml`` and the environment variables that dbt needs to read it.

        A file that is written from a mapping holds no secret, only ``env_var()`` calls; it is readable by this user
        alone and gone afterwards. The user's own file is used where it lies.

        :param use_mock_values: values for parsing only: the connection is not looked up, and no variable is needed.
        :raises CosmosValueError: when the user's own file is not there; when the connection does not exist or lacks
            what dbt needs.
        """
        from cosmos_venv.processes.scratch import scratch_folder  # not needed by a DAG file

        mapping, own = self.profile_mapping, Path(str(self.profiles_yml_filepath)).absolute()  # dbt runs elsewhere
        if mapping is None:
            self.validate_profiles_yml()
            if own.name == DEFAULT_PROFILES_FILE_NAME:
                yield own, {}
                return
        with scratch_folder(_PREFIX) as folder:
            path = folder / DEFAULT_PROFILES_FILE_NAME
            if mapping is None:
                # dbt is told a folder: given prod.yml, it would read the profiles.yml beside it, or find nothing.
                path.symlink_to(own)
                yield path, {}
                return
            validate = getattr(mapping, "validate", None)  # a mapping of the user's own may have none
            if validate is not None and not use_mock_values:
                validate()
            contents = mapping.get_profile_file_contents(
                profile_name=self.profile_name, target_name=self.target_name, use_mock_values=use_mock_values
            )
            _write_privately(path, contents)
            yield path, {} if use_mock_values else mapping.env_vars


def _write_privately(path: Path, contents: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with naming(path), os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(contents)
