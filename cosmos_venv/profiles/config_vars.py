"""Which of dbt's own settings does a profiles.yml carry?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from cosmos_venv.exceptions import CosmosValueError

_LOG_FORMATS = ("text", "json", "default")


@dataclass
class DbtProfileConfigVars:
    """dbt's global settings for the commands that use a profile. None leaves a setting to dbt.

    They stand in the profile's ``config:`` block, where Cosmos has them, and in environment variables: dbt reads no
    such block there (only one beside the profiles, which it refuses where dbt_project.yml has ``flags``).

    :raises CosmosValueError: for a value that dbt would refuse.
    """

    send_anonymous_usage_stats: bool | None = False
    partial_parse: bool | None = None
    use_experimental_parser: bool | None = None
    static_parser: bool | None = None
    printer_width: int | None = None
    write_json: bool | None = None
    warn_error: bool | None = None
    warn_error_options: dict[str, Any] | None = None
    log_format: str | None = None
    debug: bool | None = None
    version_check: bool | None = None

    def __post_init__(self) -> None:
        if self.send_anonymous_usage_stats not in (True, False, None):
            raise CosmosValueError(
                f"dbt_config_vars: send_anonymous_usage_stats={self.send_anonymous_usage_stats!r} must be a boolean."
            )
        if self.log_format is not None and self.log_format not in _LOG_FORMATS:
            raise CosmosValueError(
                f"dbt_config_vars: log_format={self.log_format!r} must be one of {', '.join(_LOG_FORMATS)}."
            )
        if self.warn_error and self.warn_error_options is not None:
            raise CosmosValueError(
                f"dbt_config_vars: warn_error=True and warn_error_options={self.warn_error_options!r} exclude each "
                "other in dbt. Drop one of them."
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def as_env(self) -> dict[str, str]:
        """The same for dbt's environment."""
        given = self.as_dict()
        if "warn_error_options" in given:
            given.pop("warn_error", None)  # dbt takes one of the two, be the other False
        return {f"DBT_{name}".upper(): _text(value) for name, value in given.items()}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
