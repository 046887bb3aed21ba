"""Which environment variables does a text with Jinja ask for?"""

from __future__ import annotations

import os
import re

_CALL = re.compile(rb"""\benv_var\b(?:\s*\(\s*['"]([^'"]+)['"]\s*[,)])?""")


def env_vars_named_in(content: bytes) -> frozenset[str] | None:
    """The names that stand in its ``env_var()``; None where one of them is made up when it runs.

    :param content: of any file of a dbt project.
    """
    found = {*_CALL.findall(content)}
    return None if b"" in found else frozenset(map(os.fsdecode, found))
