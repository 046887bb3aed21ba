"""Requirements and options of pip and uv as users write them: read, made canonical, and put into digests.

They stand in lists, in requirements files, and in pip's configuration (its files and its ``PIP_*`` variables).

- A requirement is a path when pip takes it as one, in a list and in a file alike.
- A file or folder that a requirement names counts with its content: a changed file asks for another environment.
- A lock file counts with its content alone. It is not parsed here: parsing takes modules that only a build imports.
- An option that is not understood counts as it is written.
- pip's configuration is read here and not by ``pip config list``: a worker that installs with uv need not have pip. The
  digest needs the constraints, wherever a DAG file is parsed.
- This runs while a DAG file is parsed, so a file without an end (a device), or one that blocks its reader (a FIFO), is
  not read.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files import os_errors
from cosmos_venv.files.read_limits import endless_kind_of, read_file, sha256_of_file, walk

_ARCHIVES = (".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PATH_AND_REST = re.compile(r"(?P<path>[^;]+?)\s*(?P<rest>(\[[^\[\]]*\])?\s*(;.*)?)", re.DOTALL)

_LONG_NAMES = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-U": "--upgrade",
    "-q": "--quiet",
    "-v": "--verbose",
    "--default-timeout": "--timeout",
}

# Any other option takes the next word as its value, unless the next word is an option too.
WITHOUT_VALUE = frozenset({
    "--no-index", "--no-deps", "--require-hashes", "--upgrade", "--pre", "--quiet", "--verbose", "--no-cache-dir",
    "--prefer-binary", "--force-reinstall", "--ignore-installed", "--no-build-isolation", "--isolated", "--user",
    "--no-input", "--no-color", "--dry-run", "--disable-pip-version-check", "--break-system-packages",
})  # fmt: skip
_NAMES_A_FILE = {"--requirement", "--constraint"}
NEEDS_A_VALUE = {*_NAMES_A_FILE, "--editable"}
_LOCK_FILE = r"pylock(\.[^.]+)?\.toml"

# Folders that never become part of a package. The names of the second set have that meaning only at the top of a source
# tree, where installers and people leave such folders.
_NOT_CONTENT = {"__pycache__", ".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".mypy_cache"}
_NOT_CONTENT_AT_THE_TOP = {"build", "dist", "venv"}
_NOT_CONTENT_SUFFIXES = (".egg-info", ".pyc", ".pyo")
_SECTIONS = ("global", "install")  # the second section wins, in whichever file it is
_OFF = frozenset({"0", "f", "false", "n", "no", "off"})

LISTS = frozenset({"--extra-index-url", "--find-links", "--trusted-host", "--constraint"})
"""Options that take several values at once in pip's configuration, separated by blanks or lines."""

# Each would lead the installation somewhere else, make it an installation of something else, or leave out byte code.
_DIVERTING = frozenset({
    "--user", "--target", "--prefix", "--root", "--require-virtualenv", "--python", "--dry-run", "--compile",
    "--no-compile", "--config-file",
})  # fmt: skip

_ODD_BYTES = "surrogateescape"
_COMMENT = re.compile(r"(^|\s)#.*$")


def refuse_anything_but_strings(name: str, given: object) -> None:
    """Refuse an argument that is no list of strings. Lists read from configuration files may hold other values.

    A string in place of a list would be taken for its letters.

    :param name: of the parameter, for the error.
    :param given: its value, as the user wrote it.
    :raises CosmosValueError: naming the parameter, and the list to write.
    """
    if isinstance(given, str):
        given = credentials.mask(given)
        # Options are words of a command line; a requirement may hold blanks.
        meant = given.split() if name == "pip_install_options" else [given]
        raise CosmosValueError(f"{name}={given!r} is one string where several are meant. Write {meant!r}.")
    for text in given if isinstance(given, Iterable) else [given]:
        if not isinstance(text, str):
            raise CosmosValueError(f"{name}: {text!r} is no string. Write {str(text)!r}.")


def local_path(text: str) -> tuple[str, str] | None:
    """Return the path that a requirement is, and the extras and markers behind it; None when it is a name or a URL.

    A path has a separator, begins with a dot or ends like an archive, and need not be there. Only ``a@b`` is looked up:
    it may be a file of that name, else it is the package ``a`` from the address ``b``.

    :param text: the requirement, which is no option.
    """
    parts = _PATH_AND_REST.fullmatch(text.strip())
    if parts is None or is_url(text):
        return None
    path = parts["path"]
    if not (_has_a_separator(path) or path.lower().endswith(_ARCHIVES)):
        return None
    name, at, _ = path.partition("@")
    if at and not _has_a_separator(name) and not Path(path).exists():
        return None
    return path, parts["rest"].strip()


def is_url(text: str) -> bool:
    """Return whether a requirement is a URL, without a name in front of it.

    :param text: the requirement.
    """
    first = text.strip().partition(" ")[0].lower()
    return first.startswith("file:") or re.match(r"[a-z+]+://", first) is not None


@dataclass(frozen=True, kw_only=True)
class InstallOption:
    """One thing that an installer is told: an option, a setting of its configuration, or a requirement.

    :param name: the long name of pip's option; empty for a requirement.
    :param value: the value of the option, or the requirement; empty for a switch.
    :param words: the command line words that say so, as they were written.
    :param origin: the file or variable that says so; empty for an option of the installation itself.
    """

    name: str
    value: str = ""
    words: tuple[str, ...] = ()
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.origin or 'pip_install_options'})"

    @property
    def requirements_file(self) -> Path | None:
        """The file of requirements or constraints on this machine that it names; None where it names none."""
        is_named = self.name in _NAMES_A_FILE and self.value and "://" not in self.value
        return Path(self.value) if is_named else None


def parse(words: Iterable[str]) -> Iterator[InstallOption]:
    """Give the options of ``pip install`` or ``uv pip install`` in their order.

    :param words: of the command line, behind the command.
    """
    remaining = deque(words)
    while remaining:
        word = remaining.popleft()
        name, value = _split(word)
        words_of = [word]
        takes_next = name and not value and name not in WITHOUT_VALUE
        if takes_next and remaining and not remaining[0].startswith("-"):
            value = remaining.popleft()
            words_of.append(value)
        yield InstallOption(name=name, value=value, words=tuple(words_of))


def parse_requirement(text: str) -> list[InstallOption]:
    """Return what an entry of ``py_requirements`` says: a requirement, or options such as ``-r FILE``.

    :param text: the entry.
    """
    text = text.strip()
    return [*parse(shlex.split(text))] if text.startswith("-") else [InstallOption(name="", value=text, words=(text,))]


def is_lock_file(path: str | Path) -> bool:
    """Return whether PEP 751 calls a file of this name a lock file: ``pylock.toml`` or ``pylock.NAME.toml``.

    :param path: of the file, or its address.
    """
    return re.fullmatch(_LOCK_FILE, Path(path).name) is not None


def lock_file_among(options: Iterable[InstallOption]) -> Path | None:
    """Return the lock file that an installation takes everything from; None where it has none.

    :param options: of the installation.
    :raises CosmosValueError: naming the files, where there are several.
    """
    named = (each.value for each in options if each.name == "--requirement" and is_lock_file(each.value))
    files = list(dict.fromkeys(map(Path, named)))
    if len(files) > 1:
        raise CosmosValueError(
            f"py_requirements: {' and '.join(map(str, files))} are two lock files, and one says all that is installed. "
            "Name one of them."
        )
    return files[0] if files else None


def without_lock_file(words: Iterable[str]) -> list[str]:
    """Return the words of a command line without a lock file that they name.

    :param words: of the command line, behind the command.
    """
    kept = (each for each in parse(words) if not (each.name in _NAMES_A_FILE and is_lock_file(each.value)))
    return [word for option in kept for word in option.words]


def long_name(name: str) -> str:
    """Return the one long name of an option, whichever of its spellings is given.

    :param name: with its dashes, and without a value.
    """
    return _LONG_NAMES.get(name, name)


def digest_of_path(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of every file below a directory with its relative path.

    :param path: of the file or directory.
    :raises CosmosValueError: naming ``py_requirements``, when the path cannot be read.
    """
    try:
        if path.is_dir():
            return _digest_of_tree(path)
        return sha256_of_file(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def canonical(text: str, folder: Path | None = None) -> Iterator[str]:
    """Give a requirement as it counts in a digest: without credentials, and a file or folder with its content.

    :param text: the requirement, or the value of an option.
    :param folder: of the requirements file that it stands in; None: it stands in a list, and must be there.
    :raises CosmosValueError: naming what cannot be read.
    """
    local = local_path(text)
    if local:
        path, rest = local
    else:
        before, scheme, behind = text.rpartition("file:")
        if not scheme:
            yield credentials.remove(text)
            return
        address, _, marker = behind.partition(" ")
        parts = urlsplit(scheme + address)
        path, rest = unquote(parts.path), f"{before} {parts.fragment} {marker}"
    # pip reads a local path relative to its working directory. People mean a path beside the file, so both count.
    places = [Path(path)] if folder is None else list(dict.fromkeys([folder / path, Path.cwd() / path]))
    # A missing path may contain a variable that pip expands, such as ${HOME}.
    found = [digest_of_path(place) for place in places if folder is None or place.exists()]
    yield from [f"content {digest} {rest}" for digest in found] or [credentials.remove(text)]


def canonical_options(options: Iterable[InstallOption], folder: Path | None = None) -> Iterator[str]:
    """Give options as they count in a digest.

    :param options: the options.
    :param folder: as for ``canonical``. With a folder, ``-r FILE`` and ``-c FILE`` add nothing: the caller reads the
        lines of these files too.
    :raises CosmosValueError: naming what cannot be read.
    """
    for option in options:
        yield option.name
        if option.requirements_file:
            yield from canonical_requirements_file(option.requirements_file) if folder is None else ()
        elif option.name in {"", "--editable"}:
            yield from canonical(option.value, folder)
        elif option.value:
            yield credentials.remove(option.value)


def canonical_requirements_file(path: Path) -> list[str]:
    """Return the lines of a ``-r`` or ``-c`` file without credentials. A file that it names is replaced by the lines of
    that file, a lock file by the digest of its text.

    :param path: of the file.
    :raises CosmosValueError: naming the file, when it cannot be read or includes itself.
    """
    if is_lock_file(path):
        return [f"lock {hashlib.sha256(credentials.remove(_text_of(path)).encode(errors=_ODD_BYTES)).hexdigest()}"]
    found: list[str] = []
    for file, line in _lines_of(path):
        if line.startswith("-"):
            found += canonical_options(parse(shlex.split(line)), file.parent)
        elif line:
            found += canonical(line, file.parent)
    return found


def options_in_file(path: Path) -> Iterator[InstallOption]:
    """Give the options of a ``-r`` or ``-c`` file and of the files that it names, in the order in which pip obeys them.

    Options of a single requirement, such as ``--hash``, are among them. Files at a URL are not read.

    :param path: of the file. A lock file has no options.
    :raises CosmosValueError: naming the file, when it cannot be read or includes itself.
    """
    for file, line in () if is_lock_file(path) else _lines_of(path):
        for option in parse(_options_of(line)):
            if option.name:
                yield replace(option, origin=str(file))


def pip_configuration(environ: Mapping[str, str]) -> list[InstallOption]:
    """Return the settings of pip, without those that are empty, switched off, or would divert an installation.

    :param environ: whose ``PIP_*`` variables, home and configuration folders count.
    :raises CosmosValueError: naming a configuration file that pip cannot read either.
    """
    files = [(str(file), parser) for file in _pip_files(environ) if (parser := _parsed(file))]
    said = [
        (key, value, file)
        for section in _SECTIONS
        for file, parser in files
        if parser.has_section(section)
        for key, value in parser.items(section)
    ]
    said += [(key[4:], value, key) for key, value in environ.items() if key.startswith("PIP_")]
    found: dict[str, tuple[str, str]] = {}
    for key, value, origin in said:
        name = long_name(f"--{key.lower().replace('_', '-')}")
        if value and value.strip() and name not in _DIVERTING:
            found[name] = value.strip(), origin
    return [
        InstallOption(name=name, value=value, words=(f"{name}={value}",), origin=origin)
        for name, (text, origin) in found.items()
        if not (text.lower() in _OFF and name in WITHOUT_VALUE)
        for value in (text.split() if name in LISTS else [text])
    ]


def configured_constraints(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the files and addresses of constraints that pip or uv is configured with.

    :param environ: as for ``pip_configuration``; ``UV_CONSTRAINT`` counts too.
    :raises CosmosValueError: as ``pip_configuration``.
    """
    yield from (setting.value for setting in pip_configuration(environ) if setting.name == "--constraint")
    yield from environ.get("UV_CONSTRAINT", "").split()


def _has_a_separator(text: str) -> bool:
    return "/" in text or text.startswith(".")


def _split(word: str) -> tuple[str, str]:
    """Return the long name and the value that a word holds; an empty name for no option."""
    if not word.startswith("-"):
        return "", word
    name, _, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:].lstrip("=").strip())
    return long_name(name), value


def _options_of(line: str) -> list[str]:
    """Return the words of a line that are options or their values: all of them, or those behind a requirement."""
    if line.startswith("-"):
        return shlex.split(line)
    before, dash, behind = line.partition(" -")
    return shlex.split(f"-{behind}") if dash and before else []


def _lines_of(path: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, str]]:
    """Yield each line of a file without its comment, followed by the lines of the files that the line names."""
    file = Path(os.path.realpath(path))  # Path.resolve raises a RuntimeError for a link to itself
    if file in above:
        raise CosmosValueError(f"pip_install_options: the requirements file {file} includes itself. Remove the cycle.")
    text = _text_of(file).replace("\r\n", "\n").replace("\\\n", " ")
    for line in (_COMMENT.sub("", each).strip() for each in text.splitlines()):
        yield file, line
        for option in parse(shlex.split(line)) if line.startswith("-") else ():
            if option.requirements_file:
                yield from _lines_of(file.parent / option.requirements_file, (*above, file))


def _text_of(file: Path) -> str:
    try:
        return read_file(file).decode("utf-8", errors=_ODD_BYTES)
    except OSError as error:
        raise _unreadable(file, error) from None


def _digest_of_tree(root: Path) -> str:
    digest = hashlib.sha256()
    for file in _files_below(root):
        try:
            # An installer may never look at a socket in the folder: a special file counts by its kind.
            content = endless_kind_of(file.stat().st_mode) or sha256_of_file(file)
        except FileNotFoundError:  # a link that leads nowhere, such as an editor's lock file
            continue
        digest.update(f"{file.relative_to(root).as_posix()}\0{content}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files_below(root: Path) -> Iterator[Path]:
    for folder, folders, files in walk(root):
        folders[:] = sorted(name for name in folders if _is_content(name))
        if folder == str(root):
            folders[:] = [name for name in folders if _is_package(root / name) or name not in _NOT_CONTENT_AT_THE_TOP]
        yield from (Path(folder, name) for name in sorted(files) if _is_content(name))


def _is_content(name: str) -> bool:
    return name not in _NOT_CONTENT and not name.endswith(_NOT_CONTENT_SUFFIXES)


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _unreadable(path: Path, error: OSError) -> CosmosValueError:
    way_out = "Give a path that exists on every worker, or a requirement from an index."
    if is_lock_file(path):
        way_out = "Give a path that exists on every worker, or write it: cosmos-venv env lock DAGFILE."
    return CosmosValueError(f"py_requirements: {path} cannot be read: {os_errors.reason_of(error, way_out)}")


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files; later ones win. A virtual environment's own file is not among them, since
    ``pip --python`` does not read it.
    """
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    files = [Path(folder, "pip/pip.conf") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    files += [Path("/etc/pip.conf"), Path("/Library/Application Support/pip/pip.conf")]
    if named and Path(named).exists():
        return [*files, Path(named)]  # then pip leaves out the user's own
    if home := environ.get("HOME", ""):
        files += [Path(home, ".pip/pip.conf"), Path(home, "Library/Application Support/pip/pip.conf")]
    if folder := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        files.append(Path(folder, "pip/pip.conf"))
    return files


def _parsed(file: Path) -> configparser.RawConfigParser | None:
    """Return the settings of a file; None where pip passes over it too: it is missing, or this user may not read it."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except OSError:
        return None
    except (UnicodeDecodeError, configparser.Error) as error:
        raise CosmosValueError(
            f"{file} cannot be read as pip's configuration, and pip does not start with it. Correct it (pip config "
            "debug)."
        ) from error
    return parser
