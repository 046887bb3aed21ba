"""Would uv install what pip would, from where pip would? Neither reads what the other is configured with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv.environments import pip_config, uv_config
from cosmos_venv.environments.options import InstallOption
from cosmos_venv.environments.pip_config import ROUTES
from cosmos_venv.environments.sources import index_of_pip, index_of_uv, is_without_index

_Settings = Mapping[str, Sequence[str]]

_ON = {"1", "true", "yes", "on"}
_BEST_MATCH = "unsafe-best-match"  # takes the best version of all indexes, as pip does
_MOOT_WITHOUT_INDEX = {"no-index", "index-url", "default-index", "extra-index-url", *ROUTES}
# What tells uv of a route beside its own settings.
_ROUTE_VARIABLES = {
    "proxy": ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
}
# Of a requirements file uv obeys these; others it passes over.
_OBEYED_IN_FILES = {
    *("--requirement", "--constraint", "--editable", "--index-url", "--extra-index-url", "--find-links", "--no-index"),
    *("--no-binary", "--only-binary", "--hash"),
}


def why_not_uv(given: Sequence[InstallOption], in_files: Sequence[InstallOption], environ: Mapping[str, str]) -> str:
    """Why uv would install something else than pip, or from somewhere else; empty when it would not.

    :param given: the options of the installation, all of which uv knows.
    :param in_files: the options that its requirements files hold.
    :param environ: the environment variables that pip and uv would read.
    """
    if passed_over := {option.name for option in in_files} - _OBEYED_IN_FILES:
        return f"uv does not obey {', '.join(sorted(passed_over))} in a requirements file"
    names = {option.name for option in given}
    pip, uv = pip_config.read(environ), uv_config.read(environ, names)
    moot = _moot([*given, *in_files], pip, uv)
    if "extra-index-url" not in moot and _has_several_indexes([*given, *in_files], pip, uv):
        return f"uv ranks several indexes in another way than pip (--index-strategy {_BEST_MATCH} makes it pip's)"
    # Each is told of these, and names them in its own way.
    apart = {"index-url", "default-index", "find-links"}
    unlike = {name for name in {*pip, *uv} - apart if not _agree(name, pip, uv, environ)}
    places = _places(option.value or "" for option in [*given, *in_files] if option.name == "--find-links")
    if places | _places(pip.get("find-links", ())) != places | _places(uv.get("find-links", ())):
        unlike.add("find-links")
    if index_of_pip(given, in_files, pip) != index_of_uv(given, in_files, uv):
        unlike.add("index-url")
    return _reason(sorted(unlike - moot), pip)


def _moot(options: Sequence[InstallOption], pip: _Settings, uv: _Settings) -> set[str]:
    """Settings that decide nothing in this installation."""
    names = {option.name for option in options}
    moot = {"index-strategy", *(option.name.removeprefix("--") for option in options if option.value is None)}
    if is_without_index(options, pip) and is_without_index(options, uv):
        moot |= _MOOT_WITHOUT_INDEX
    # Who speaks uv's own language knows where uv looks.
    if "--default-index" in names:
        moot.add("index-url")
    if names & {"--index", "--index-strategy"}:
        moot.add("extra-index-url")
    return moot


def _has_several_indexes(options: Iterable[InstallOption], pip: _Settings, uv: _Settings) -> bool:
    """Whether it matters that uv takes what the first index has, and pip the best version of all."""
    is_several = "extra-index-url" in {*pip, *uv} or any(option.name == "--extra-index-url" for option in options)
    return is_several and _BEST_MATCH not in uv.get("index-strategy", ())


def _agree(name: str, pip: _Settings, uv: _Settings, environ: Mapping[str, str]) -> bool:
    if name in ROUTES:
        variables = [environ.get(variable, "") for variable in _ROUTE_VARIABLES.get(name, ())]
        return set(pip.get(name, ())) <= {*uv.get(name, ()), *variables}
    return _meaning(pip.get(name, ())) == _meaning(uv.get(name, ()))


def _meaning(words: Iterable[str]) -> set[str]:
    return {"on" if word.lower() in _ON else word.rstrip("/") for word in words}


def _places(words: Iterable[str]) -> set[str]:
    """Folders and pages with links; a folder is the same as the ``file:`` address of it."""
    return {_place(word) for word in words}


def _place(word: str) -> str:
    url = urlsplit(word)
    if url.scheme not in {"", "file"}:
        return word
    return str(Path(unquote(url.path) if url.scheme else word).resolve())


def _reason(unlike: Sequence[str], pip: _Settings) -> str:
    if not unlike:
        return ""
    of_pip = ", ".join(name for name in unlike if name in pip)
    of_uv = ", ".join(name for name in unlike if name not in pip)
    pips = f"pip is configured with {of_pip}, which uv does not read" if of_pip else ""
    uvs = f"uv is configured with {of_uv}, which pip does not read" if of_uv else ""
    return "; ".join(filter(None, [pips, uvs]))
