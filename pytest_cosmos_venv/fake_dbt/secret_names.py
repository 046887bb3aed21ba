"""Patterns of names and URLs that show a secret: passwords, tokens, keys, connections."""

from __future__ import annotations

import re

# A name in a profile, in variables of dbt, in JSON.
_NAME = re.compile(
    r"pass(word|wd|phrase|code)|(^|_)(pass|pwd|pin|pat|auth|dsn)$|token|secret|credential|authorization|cookie|keyfile|"
    r"private_key|(api|access|account|encryption|fernet|shared|sas|ssh|gpg|auth)_?key|(^|_)conn(ection)?_?(str(ing)?|ur[il])$",
    re.IGNORECASE,
)
# Names that look secret, with values that are not.
_NO_SECRET = re.compile(r"token_(ur[il]|endpoint|type)$|primary_key|unique_key|foreign_key", re.IGNORECASE)
# For an environment variable, a vaguer name suffices.
_NAME_OF_VARIABLE = re.compile(
    r"PASS|PWD|TOKEN|SECRET|CREDENTIAL|PRIVATE|COOKIE|DSN|(^|_)(KEYS?|AUTH|PAT)(_|$)", re.IGNORECASE
)
_FOLDERS = ("PWD", "OLDPWD", "SSH_AUTH_SOCK")
# A connection of Airflow is an address or JSON, and parts of it are secret.
NAME_OF_CONNECTION = re.compile(r"(^|_)CONN(_|$)", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@'\"]*):([^\s/@'\"]+)(?=@)")
# The user in a web address may be a token: https://ghp_x@github.com/o/r.git.
URL_USER = re.compile(r"(?:(?<=http://)|(?<=https://))(?!@)([^\s/:@'\"?#]*)(?::[^\s/@'\"?#]*)?(?=@)", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a value with this name counts as a secret: ``password``, ``DBT_ENV_SECRET_PAT``, ``private_key``.

    :param name: the name of a variable, of a key in a profile, or of a key in JSON.
    """
    return bool(_NAME.search(name)) and not _NO_SECRET.search(name)


def is_secret_variable(name: str) -> bool:
    """Whether the value of an environment variable counts as a secret. Connections are not judged here.

    :param name: the name of the variable.
    """
    return bool(_NAME_OF_VARIABLE.search(name) or is_secret_name(name)) and name not in _FOLDERS
