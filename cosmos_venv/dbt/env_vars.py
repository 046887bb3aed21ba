"""Names of the environment variables that a file of a dbt project asks for with ``env_var()``.

A name that is written out is found in the text. One that is made up when it runs (``env_var('PORT_' ~ target.name)``)
is known to dbt alone. dbt notes in its parse file which variables it has read while it parsed. As tried with dbt 1.10
and 1.11, it notes all but those of ``dbt_project.yml``, ``selectors.yml``, the profile, package files and descriptions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv.yaml_text import scalars

if TYPE_CHECKING:
    from cosmos_venv.yaml_text import Scalar

_NAME = "env_var"
_CALL = re.compile(rb"""\benv_var\b(?:\s*\(\s*['"]([^'"]+)['"]\s*[,)])?""")
_ROUNDS = 5_000  # some milliseconds, which every parse pays
_YAML = (".yml", ".yaml")
_NOT_NOTED = ("dbt_project.yml", "selectors.yml", "packages.yml", "dependencies.yml", "profiles.yml")
# dbt keeps these keys of dbt_project.yml as they are, and renders them as SQL when it parses or runs.
_RENDERED_LATER = ("on-run-start", "on-run-end", "pre-hook", "post-hook", "query-comment")


@dataclass(frozen=True)
class MadeUpName:
    """A call of ``env_var()`` whose name is known only when it runs.

    :param file: as it was given to ``env_vars_in``.
    :param line: its number, from 1.
    :param is_noted: whether dbt notes what is read there.
    """

    file: str
    line: int
    is_noted: bool

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class EnvVars:
    """The variables of one text or of several.

    :param names: those that are written out, and perhaps some that nobody reads, such as one in a comment.
    """

    names: frozenset[str] = frozenset()
    made_up: tuple[MadeUpName, ...] = ()

    @classmethod
    def of_all(cls, found: Iterable[EnvVars]) -> EnvVars:
        """Those of several texts."""
        each = list(found)
        return cls(
            frozenset().union(*(one.names for one in each)), tuple(made_up for one in each for made_up in one.made_up)
        )

    def below(self, folder: str) -> EnvVars:
        """The same, of files that stand in that folder."""
        made_up = (replace(each, file=f"{folder}/{each.file}") for each in self.made_up)
        return EnvVars(self.names, tuple(made_up))

    @property
    def unnoted(self) -> MadeUpName | None:
        """The first name that nobody can tell, before or after dbt has run; None where there is none."""
        return next((each for each in self.made_up if not each.is_noted), None)


def env_vars_in(content: bytes, file: str) -> EnvVars:
    """The variables that a file asks for.

    :param content: what stands in it.
    :param file: its path below its project or package: what it is for is told by its name.
    """
    found = _CALL.findall(content)
    names = frozenset(os.fsdecode(name) for name in found if name)
    if b"" not in found or file.endswith(".py"):  # dbt renders no Python
        return EnvVars(names)
    text = content.decode("utf-8", errors="replace")
    texts = scalars(text) if file.endswith(_YAML) else None
    calls = list(_calls_in_yaml(file, texts) if texts is not None else _calls_in(text, file))
    return EnvVars(
        names | {call for call in calls if isinstance(call, str)},
        tuple(call for call in calls if isinstance(call, MadeUpName)),
    )


def noted_by_dbt(parse_file: bytes) -> frozenset[str] | None:
    """Names of the variables that dbt has read while it parsed; None where the file does not say.

    :param parse_file: content of a ``partial_parse.msgpack``.
    """
    try:
        noted = msgspec.msgpack.decode(parse_file, type=_Noted).env_vars
    except msgspec.MsgspecError:
        return None
    return frozenset(noted)


def veiled(env: Mapping[str, str], names: Iterable[str]) -> str:
    """A text that differs where the values of these variables do; empty where none of them is set.

    Passwords may be among them, and the text becomes part of the name of a file that others may see. So it takes
    long to try out values: thousands of times as long as by a plain digest.
    """
    values = {name: env[name] for name in sorted(names) if name in env}
    text = json.dumps(values).encode(errors="surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", text, b"cosmos-venv", _ROUNDS).hex() if values else ""


class _Noted(msgspec.Struct):
    env_vars: dict[str, msgspec.Raw]


def _calls_in_yaml(file: str, texts: Sequence[Scalar]) -> Iterator[str | MadeUpName]:
    """YAML first: in a text in single quotes dbt's Jinja has each of its own quotes doubled, ``env_var(''NAME'')``."""
    for scalar in texts:
        yield from _calls_in(scalar.text, file, first_line=scalar.line, is_noted=_is_noted(file, scalar.keys))


def _is_noted(file: str, keys: tuple[str, ...]) -> bool:
    if file == "dbt_project.yml":
        return any(key.lstrip("+").replace("_", "-") in _RENDERED_LATER for key in keys)
    if file in _NOT_NOTED:
        return False
    # dbt ls tells the description of a node, and not those of columns.
    return keys[-1:] != ("description",) or "columns" in keys


def _calls_in(text: str, file: str, *, first_line: int = 1, is_noted: bool = True) -> Iterator[str | MadeUpName]:
    """The calls in a text with Jinja: a name that is written out, or where one is made up."""
    if not (_NAME in text and ("{{" in text or "{%" in text)):
        return
    import jinja2  # where every name is written out, nobody pays for it

    def made_up(line: int) -> MadeUpName:
        return MadeUpName(file, first_line + line - 1, is_noted)

    try:
        lexed = list(jinja2.Environment(autoescape=True).lex(text))
    except jinja2.TemplateSyntaxError as error:
        yield made_up(error.lineno)
        return
    tokens = [(line, kind, word) for line, kind, word in lexed if kind != "whitespace"]
    for number, (line, kind, word) in enumerate(tokens):
        if kind == "string" and word[1:-1] == _NAME:  # context['env_var']
            yield made_up(line)
        if kind != "name" or word != _NAME:
            continue
        (_, _, bracket), (_, what, name), (_, _, end) = (*tokens[number + 1 : number + 4], *[(0, "", "")] * 3)[:3]
        yield name[1:-1] if bracket == "(" and what == "string" and end in (",", ")") else made_up(line)
