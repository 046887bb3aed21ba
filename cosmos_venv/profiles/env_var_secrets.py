"""The secrets among the values of a profile, and the profile written without them.

A mapping class declares its secrets. Further secrets come by ``profile_args``, or by a field of a Connection that no
class declares. They are recognised by the key (``oauth_access_token``, ``secrets: [{secret: ...}]``) or by the text
(``md:harbor?motherduck_token=...``). A needless ``env_var()`` call does no harm, a password in a file does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

_SECRET_KEY = re.compile(
    r"(?:password|passwd|passphrase|secret|token|secret_key|api_?key|authorization|credentials?)$"
    r"|(?:account|access|encryption|shared|storage)_?key$|^private_key(?:_content|_pem)?$"
    r"|(?:^|_)(?:pass|pwd|jwt|sas)$"
)
_SECRET_TEXT = re.compile(
    r"(?i)(?:password|passwd|pwd|token|secret|(?:account|access|api)_?key)\w*\s*=\s*\S"
    r"|://[^/\s:@]*:[^/\s@]+@|-----BEGIN "
)
_CALL = re.compile(r"\{\{.*env_var\s*\(")


def seal(
    fields: Mapping[str, Any], secret_fields: Collection[str], variable_of: Callable[[str], str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields with ``env_var()`` calls for the secrets, and the secrets by the names of their variables.

    :param fields: dbt field -> value, nested ones too.
    :param secret_fields: names that are secrets wherever they stand. A secret at the top that is None gets a call too,
        so that its absence is noticed later.
    :param variable_of: returns the variable of a field. For a field inside another one, the names are joined by ``_``.
    """
    sealer = _Sealer(secret_fields, variable_of)
    return {name: sealer.sealed(value, (name,)) for name, value in fields.items()}, sealer.variables


def without_secrets(fields: Mapping[str, Any], secret_fields: Collection[str]) -> dict[str, Any]:
    """Return the fields that neither are secrets nor hold one.

    :param fields: dbt field -> value, nested ones too.
    :param secret_fields: names that are secrets wherever they stand.
    """
    sealed = {name: seal({name: value}, secret_fields, str) for name, value in fields.items()}
    return {name: output[name] for name, (output, secrets) in sealed.items() if not secrets}


def env_var_call(variable: str) -> str:
    """Return the text with which a profile asks dbt to read an environment variable.

    :param variable: its name.
    """
    return f"{{{{ env_var('{variable}') }}}}"


class _Sealer:
    def __init__(self, secret_fields: Collection[str], variable_of: Callable[[str], str]) -> None:
        self._secret_fields = secret_fields
        self._variable_of = variable_of
        self.variables: dict[str, Any] = {}

    def sealed(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return a value with calls in the place of secrets.

        :param value: of a field, or of something inside one.
        :param path: names of the fields that lead to it.
        """
        if self._is_declared(value, path):
            return self._call(path[-1], value)
        if isinstance(value, Mapping):
            return {key: self.sealed(inner, (*path, str(key))) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.sealed(inner, (*path, str(index))) for index, inner in enumerate(value)]
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        return self._call("_".join(path), value) if _looks_secret(path[-1], value) else value

    def _is_declared(self, value: Any, path: tuple[str, ...]) -> bool:
        is_declared = path[-1] in self._secret_fields and not _is_call(value)
        return is_declared and (value is not None or len(path) == 1)

    def _call(self, name: str, value: Any) -> str:
        variable = re.sub(r"\W", "_", self._variable_of(name))
        while variable in self.variables and self.variables[variable] != value:
            variable += "_"
        self.variables[variable] = json.dumps(value) if isinstance(value, Mapping | list | tuple) else value
        return env_var_call(variable)


def _looks_secret(key: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "" or _is_call(value):
        return False
    if _SECRET_KEY.search(re.sub(r"[^a-z0-9]+", "_", key.lower())):
        return True
    return isinstance(value, str) and "{{" not in value and _SECRET_TEXT.search(value) is not None


def _is_call(value: object) -> bool:
    """Whether the user has put the secret into a variable himself."""
    return isinstance(value, str) and _CALL.search(value) is not None
