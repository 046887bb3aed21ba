"""Is it a URL, and how may it be shown?"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from cosmos_venv.environments.credentials import mask
from cosmos_venv.exceptions import CosmosValueError

_URL = r"[A-Za-z][A-Za-z0-9+.-]*://"
_SPOILT = r"(https?|s3a?|gc?s|adl|abfss?):/(?!/)"


def url_of(value: str | Path, parameter: str) -> str | None:
    """The value as a URL; None for a path on this machine, which ``file://`` leads to also.

    :raises CosmosValueError: for a URL that was made a ``Path`` of, which drops a slash.
    """
    text = str(value)
    if isinstance(value, Path) and re.match(_SPOILT, text):
        raise CosmosValueError(f"{parameter}={value!r} is a URL of which Path has dropped a slash. Give a text.")
    if not re.match(_URL, text) or text.lower().startswith("file://"):
        return None
    try:
        urlsplit(text).port  # noqa: B018 - as far as a URL is checked here
    except ValueError as error:
        raise CosmosValueError(f"{parameter}={shown(text)!r} is no URL: {error}. Correct it.") from None
    return text


def shown(url: str) -> str:
    """The URL as it may be logged: without user, password and what its query says, which may be a signature."""
    return mask(url)
