"""Is it a list of texts that a user gave for words of a command line?"""

from __future__ import annotations

from collections.abc import Iterable

from cosmos_venv.environments import credentials
from cosmos_venv.exceptions import CosmosValueError


def refuse_anything_but_strings(name: str, given: object) -> None:
    """Lists made of configuration files are not always lists of strings; a string in place of one is its letters.

    :raises CosmosValueError: names the parameter, and the list to write.
    """
    if isinstance(given, str):
        given = credentials.mask(given)
        # Options are words of a command line; a requirement may hold blanks.
        meant = given.split() if name == "pip_install_options" else [given]
        raise CosmosValueError(f"{name}={given!r} is one string where several are meant. Write {meant!r}.")
    for text in given if isinstance(given, Iterable) else [given]:
        if not isinstance(text, str):
            raise CosmosValueError(f"{name}: {text!r} is no string. Write {str(text)!r}.")
