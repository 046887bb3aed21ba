"""Translation of what pip is told into uv's words, so that uv installs what pip would.

Only what has no counterpart in uv is left to pip. uv's own configuration counts where it says how an index is reached
or how uv works, not where it says what to install: pip does not know it.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cosmos_venv.environments.installers import installer_config
from cosmos_venv.environments.installers.installer_config import Places, Setting

# Before that uv asks a folder or page of links as if it were an index.
_KNOWS_FLAT_INDEXES = (0, 6, 17)
_INDEX_OF_BOTH = "https://pypi.org/simple"
_LONGEST_ANSWER = 10.0
_TRUSTS_THE_SYSTEM = (24, 2)  # the first pip that looks at the system's certificates unasked
_LEAVES_BUILDS_ALONE = (26, 2)  # the first pip whose configured constraints do not limit what is built with
_CERTIFICATES_OF_UV = frozenset({"system-certs", "native-tls"})
_ABOUT_CERTIFICATES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"})

# What is no question of what is installed, or what uv does anyway.
_NOTHING_TO_UV = frozenset({
    "no-input", "progress-bar", "no-color", "disable-pip-version-check", "no-python-version-warning", "debug",
    "no-warn-script-location", "no-warn-conflicts", "root-user-action", "no-clean", "exists-action", "no-user",
    "compile", "no-compile", "require-virtualenv", "break-system-packages", "use-pep517", "no-require-hashes",
    "resume-retries",
    # In a new environment there is nothing to ignore or to keep.
    "ignore-installed", "upgrade-strategy",
    "link-mode",  # always "copy": UV_LINK_MODE
})  # fmt: skip
_FEATURES_OF_UV = {
    # pip has these on request and uv always.
    "use-feature": {"fast-deps", "2020-resolver", "in-tree-build", "inprocess-build-deps", "truststore"},
    "use-deprecated": {"legacy-certs", "html5lib"},  # old ways that change nothing in uv
}
_PLACES = frozenset({"index-url", "extra-index-url", "find-links", "no-index"})
_SWITCHES_OF_BOTH = ("no-deps", "require-hashes", "no-build-isolation", "upgrade", "quiet", "verbose")
_SAME_SWITCHES = {name: f"--{name}" for name in _SWITCHES_OF_BOTH} | {
    "force-reinstall": "--reinstall",
    "no-cache-dir": "--no-cache",
    "hash": "--require-hashes",  # with the first one pip wants one of each requirement
}
_SAME_OPTIONS = {
    "cache-dir": "--cache-dir",
    "config-settings": "--config-setting",
    "build-constraint": "--build-constraint",
    "build-constraints": "--build-constraint",
}
# pip knows none of these: a user who gives one speaks to uv.
_OF_UV_ALONE = frozenset({
    "index", "default-index", "index-strategy", "resolution", "prerelease", "exclude-newer", "override", "overrides",
    "no-build", "no-sources", "allow-insecure-host", "native-tls", "system-certs", "offline",
    "fork-strategy", "upgrade-package", "reinstall", "reinstall-package", "refresh", "refresh-package", "no-cache",
    "torch-backend", "no-build-isolation-package", "python-platform", "no-verify-hashes",
})  # fmt: skip
# What uv finds in requirements files by itself.
_READ_BY_UV = frozenset({
    "index-url", "extra-index-url", "no-index", "constraint", "requirement", "editable", "find-links", "no-binary",
    "only-binary", "hash",
})  # fmt: skip
_FILES = ("requirement", "constraint")
_PROXIES_OF_UV = frozenset({"http-proxy", "https-proxy", "no-proxy"})
_WHOLE_CONFIGURATIONS = frozenset({"config-file", "no-config"})
_OF_REQUIREMENTS_FILES = _READ_BY_UV | {"prefer-binary", "require-hashes", "pre", "trusted-host", "use-feature"}


class NoCounterpart(Exception):
    """A setting of pip cannot be said to uv. The message names it, and where it stands."""


@dataclass(frozen=True, kw_only=True)
class UvSettings:
    """The settings of uv for one installation, beside the requirements.

    :param words: of the command line. No address is among them, so no credential.
    :param lines: of a requirements file: what the machine's configuration adds to the requirements.
    :param config: text of a ``uv.toml`` in place of the user's, which may hold credentials; None: the user's counts.
    :param variables: environment variables to set, which may hold credentials.
    :param is_pips: whether the answer of pip is wanted; not where the user speaks to uv.
    :param places: addresses and folders that ``config`` names for packages, as pip was told them, and ``no-index``
        where pip asks no index; they may hold credentials.
    :param folders: of this machine, in which packages are looked for.
    :param files: of requirements and constraints, those that others name among them.
    :param takes_prereleases: whether prereleases are as good as any version.
    :param several: whether packages may come from several places.
    """

    words: tuple[str, ...] = ()
    lines: tuple[str, ...] = field(default=(), repr=False)
    config: str | None = field(default=None, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_pips: bool = False
    places: tuple[str, ...] = field(default=(), repr=False)
    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    takes_prereleases: bool = False
    several: bool = False

    def environment(self, environ: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Return the variables for a uv that obeys these settings.

        :param environ: the variables of the installation.
        :param folder: gets the configuration file, which nobody else may read.
        """
        if self.config is None:
            return {**environ, **self.variables}
        file = folder / "uv-settings.toml"
        file.touch(mode=0o600)
        file.write_text(self.config, encoding="utf-8")
        return {**installer_config.without_diverting_variables(environ), **self.variables, "UV_CONFIG_FILE": str(file)}


def translate_for_uv(
    all_settings: Iterable[Setting], environ: Mapping[str, str], uv: str, pip: tuple[int, ...] = ()
) -> UvSettings:
    """Return settings with which uv installs what pip would.

    :param all_settings: everything that pip is told (``installer_config.all_settings``).
    :param environ: the worker's environment variables.
    :param uv: path of the executable.
    :param pip: release of the pip that is to be equalled; empty where it is not known.
    :raises NoCounterpart: when there are none.
    """
    all_settings = list(all_settings)
    if any(setting.name in _WHOLE_CONFIGURATIONS for setting in all_settings):
        return pass_to_uv(setting for setting in all_settings if not _is_configured(setting))
    translation = _Translation()
    for setting in all_settings:
        translation.take(setting)
        if setting.name in _FILES and "://" in setting.value:
            # What it says of indexes and prereleases uv would weigh in another way, and nobody has read it.
            raise NoCounterpart(f"a {setting.name}s file that lies elsewhere may hold what uv does not obey")
    limit = next((setting for setting in all_settings if setting.name == "constraint"), None)
    if limit is not None and "--require-hashes" in translation.words:
        raise NoCounterpart(f"{limit} beside hashes: uv wants every constraint pinned with == then")
    if pip < _LEAVES_BUILDS_ALONE and not any(setting.name.startswith("build-constraint") for setting in all_settings):
        limits = [setting for setting in all_settings if setting.name == "constraint" and _is_configured(setting)]
        translation.words += [f"--build-constraint={Path(setting.value).absolute()}" for setting in limits]
    try:
        harmless = installer_config.harmless_uv_settings(environ)
    except ValueError as error:
        raise NoCounterpart(f"of uv's configuration {error}") from None
    places = Places.of(all_settings)
    _refuse_insecure(places, translation.trusted)
    translation.variables |= _certificates(
        environ, pip if _CERTIFICATES_OF_UV.isdisjoint(harmless) else (), translation
    )
    trusted = [*harmless.get("allow-insecure-host", ()), *translation.trusted]
    config = {
        **{name: value for name, value in harmless.items() if not (translation.proxy and name in _PROXIES_OF_UV)},
        **({"allow-insecure-host": trusted} if trusted else {}),
        "no-sources": True,
        "index-strategy": "unsafe-best-match",
        **translation.config,
    }
    tables: list[dict[str, Any]] = []
    every_link = links = _ranked(filter(None, map(_link, places.links)))
    if places.without_index:
        config["no-index"] = True
    else:
        tables, links = _index_tables(places, links, uv, translation)
    config["find-links"] = links
    return UvSettings(
        words=(*translation.words, *translation.format_words()),
        lines=tuple(translation.lines),
        config=_toml(config, tables),
        variables=translation.variables,
        is_pips=not translation.speaks_to_uv,
        places=(
            *(setting.value for setting in (*places.indexes, *places.links)),
            *(["no-index"] if places.without_index else []),
        ),
        folders=tuple(Path(unquote(urlsplit(link).path)) for link in every_link if link.startswith("file:")),
        files=tuple(
            Path(setting.origin if setting.is_in_requirements else "").parent / setting.value
            for setting in all_settings
            if setting.name in _FILES
        ),
        takes_prereleases="prerelease" in translation.config,
        several=len(tables) + len(links) > 1,
    )


def pass_to_uv(all_settings: Iterable[Setting]) -> UvSettings:
    """Return settings for a uv with its own configuration. The user's options take the place of its variables.

    :param all_settings: the options for this installation alone, those in requirements files among them.
    :raises NoCounterpart: naming all that uv does not know.
    """
    translation, unknown = _Translation(), []
    given = [each for each in all_settings if not (each.is_in_requirements and each.name in _READ_BY_UV)]
    for setting in given:
        try:
            translation.take(setting)
        except NoCounterpart:
            unknown.append(str(setting))
    if unknown:
        raise NoCounterpart(", ".join(sorted(set(unknown))))
    places = Places.of(given)
    links = [_link(setting) or setting.value for setting in places.links]  # of one that is not there uv says so
    several = {
        "UV_INDEX_URL": [places.index.value] if places.index else [],
        "UV_EXTRA_INDEX_URL": [setting.value for setting in places.extra],
        "UV_DEFAULT_INDEX": translation.default_indexes,
        "UV_INDEX": translation.indexes,
        "UV_INSECURE_HOST": translation.trusted,
    }
    variables = {name: " ".join(values) for name, values in several.items() if values}
    if plain := [link for link in links if "," not in link]:
        variables["UV_FIND_LINKS"] = ",".join(plain)
    return UvSettings(
        words=(
            *translation.words,
            *(["--no-index"] if places.without_index else []),
            *translation.format_words(),
            *(f"--{name}={value}" for name, value in translation.config.items()),
            *(f"--find-links={link}" for link in links if "," in link),
        ),
        variables={**translation.variables, **variables},
    )


@dataclass(kw_only=True)
class _Translation:
    """The settings of pip, one after the other, collected for uv; of places only what uv alone knows."""

    indexes: list[str] = field(default_factory=list)
    default_indexes: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    only_binary: set[str] = field(default_factory=set)
    no_binary: set[str] = field(default_factory=set)
    config: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    only_own_certificates: bool = False
    speaks_to_uv: bool = False

    def take(self, setting: Setting) -> None:
        """Obey one setting as pip does.

        :param setting: one of pip's, in the order in which pip applies them.
        :raises NoCounterpart: when uv cannot.
        """
        name, value = setting.name, setting.value
        if setting.is_in_requirements and name not in _OF_REQUIREMENTS_FILES:
            raise NoCounterpart(f"{setting} has no counterpart in uv")
        if name in _SAME_SWITCHES:
            if _SAME_SWITCHES[name] not in self.words:
                self.words.append(_SAME_SWITCHES[name])
        elif name in _SAME_OPTIONS:
            self.words.append(f"{_SAME_OPTIONS[name]}={value}")
        elif name in _OF_UV_ALONE and not setting.origin:
            self.speaks_to_uv = True
            self._take_word_of_uv(name, value)
        elif name in _OBEYED:
            _OBEYED[name](self, setting)
        elif name not in _NOTHING_TO_UV | _PLACES:
            raise NoCounterpart(f"{setting} has no counterpart in uv")

    def format_words(self) -> list[str]:
        """Return words that say which packages may be built and which may not."""
        return [
            *(f"--only-binary={name}" for name in sorted(self.only_binary)),
            *(f"--no-binary={name}" for name in sorted(self.no_binary)),
        ]

    def add_file_or_source(self, setting: Setting) -> None:
        # One that was given stands among the requirements already, and uv reads what a file names.
        if _is_configured(setting):
            value = setting.value
            self.lines.append(f"--{setting.name} {value if '://' in value else Path(value).absolute()}")

    def use_proxy(self, setting: Setting) -> None:
        if not setting.value:
            raise NoCounterpart(f"{setting} without an address: pip asks no proxy then")
        self.proxy = setting.value if "://" in setting.value else f"http://{setting.value}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            self.variables |= {name: self.proxy, name.lower(): self.proxy}
        # pip does not look at the hosts that the environment takes out.
        self.variables |= {"NO_PROXY": "", "no_proxy": ""}

    def use_certificates(self, setting: Setting) -> None:
        file = _with_home(setting.value)
        if Path(file).is_dir():
            raise NoCounterpart(f"{setting} is a folder, and uv wants a file of certificates")
        self.variables["SSL_CERT_FILE"] = file

    def use_keyring(self, setting: Setting) -> None:
        if setting.value == "import":
            raise NoCounterpart(f"{setting}: uv knows keyring only as a command")
        if setting.value in ("subprocess", "disabled"):
            self.config["keyring-provider"] = setting.value

    def set_timeout(self, setting: Setting) -> None:
        try:
            self.variables["UV_HTTP_TIMEOUT"] = str(max(1, math.ceil(float(setting.value))))
        except ValueError:
            raise NoCounterpart(f"{setting} is no number of seconds") from None

    def set_retries(self, setting: Setting) -> None:
        if not setting.value.isdigit():
            raise NoCounterpart(f"{setting} is no number")
        self.variables["UV_HTTP_RETRIES"] = setting.value

    def use_feature(self, setting: Setting) -> None:
        if setting.value not in _FEATURES_OF_UV[setting.name]:
            raise NoCounterpart(f"{setting}: uv has no {setting.value}")
        self.only_own_certificates |= setting.value == "legacy-certs"

    def _take_word_of_uv(self, name: str, value: str) -> None:
        lists = {"index": self.indexes, "default-index": self.default_indexes, "allow-insecure-host": self.trusted}
        if name in lists:
            lists[name].append(value)
        elif name in ("index-strategy", "prerelease"):
            self.config[name] = value
        else:
            self.words.append(f"--{name}={value}" if value else f"--{name}")


# What pip does with each of its options that uv says in another way.
# A table, and no look-up of a method by its name: an option called like a part of this class (--add-words) got through.
_OBEYED: dict[str, Callable[[_Translation, Setting], object]] = {
    "trusted-host": lambda uv, setting: uv.trusted.append(setting.value),
    "pre": lambda uv, _: uv.config.update(prerelease="allow"),
    "only-binary": lambda uv, setting: _choose_formats(setting.value, uv.only_binary, uv.no_binary),
    "no-binary": lambda uv, setting: _choose_formats(setting.value, uv.no_binary, uv.only_binary),
    "constraint": _Translation.add_file_or_source,
    "requirement": _Translation.add_file_or_source,
    "editable": _Translation.add_file_or_source,
    "proxy": _Translation.use_proxy,
    "cert": _Translation.use_certificates,
    "client-cert": lambda uv, setting: uv.variables.update(SSL_CLIENT_CERT=_with_home(setting.value)),
    "keyring-provider": _Translation.use_keyring,
    "timeout": _Translation.set_timeout,
    "retries": _Translation.set_retries,
    "use-feature": _Translation.use_feature,
    "use-deprecated": _Translation.use_feature,
}


def _index_tables(
    places: Places, links: list[str], uv: str, of_uv: _Translation
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return tables of indexes, and the places of links that are left.

    Of two equal versions pip takes the one of the last index, and of a place of links only what no index has. uv
    takes the first of its indexes, the default one last, and what is in a place of links before all of them.
    """
    # pip asks each index once, where it is named first.
    named: dict[str, Setting | None] = {} if places.index else {_INDEX_OF_BOTH: None}
    for setting in places.indexes:
        named.setdefault(setting.value.removesuffix("/"), setting)
    extra = [setting for setting in named.values() if setting is not None and setting is not places.index]
    tables = [*map(_index, of_uv.indexes), *({"url": _url(setting)} for setting in reversed(extra))]
    if of_uv.default_indexes:
        tables.append(_index(of_uv.default_indexes[-1]))
    elif places.index is not None:
        tables.append({"url": _url(places.index)})
    else:
        return tables, links
    if links and _version(uv) >= _KNOWS_FLAT_INDEXES:
        tables += [{"url": link, "format": "flat"} for link in links]
        links = []
    tables[-1]["default"] = True
    return tables, links


def _refuse_insecure(places: Places, trusted: Iterable[str]) -> None:
    """Refuse an index that is not encrypted and not trusted: pip passes over it, and uv would ask it."""
    hosts = {host.lower() for host in trusted}
    for setting in [*places.indexes, *places.links]:
        url = urlsplit(setting.value)
        name = url.hostname or ""
        is_trusted = _is_of_this_machine(name) or not hosts.isdisjoint({name, url.netloc.rpartition("@")[2].lower()})
        if url.scheme == "http" and not is_trusted:
            raise NoCounterpart(f"pip passes over http://{name}, which is no --trusted-host, and uv would not")


def _is_of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificates(environ: Mapping[str, str], pip: tuple[int, ...], translation: _Translation) -> dict[str, str]:
    """Return variables that name the certificates which pip reads because of variables, or of itself.

    :raises NoCounterpart: when they are no file.
    """
    # requests, on which pip is built, lets these go before --cert. With a proxy of its own pip looks at none.
    names = () if translation.proxy else ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    named = next((name for name in names if environ.get(name)), "")
    if named:
        if not Path(environ[named]).is_file():
            raise NoCounterpart(f"{named} = {environ[named]} is no file, and uv wants a file of certificates")
        return {"SSL_CERT_FILE": environ[named]}
    is_told = not _ABOUT_CERTIFICATES.isdisjoint({*environ, *translation.variables})
    if pip < _TRUSTS_THE_SYSTEM or is_told or translation.only_own_certificates:
        return {}
    # The second is the name that older ones know; where neither is known and one fails, pip is asked.
    return {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}


def _with_home(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111 - as pip; Path raises without a home


def _is_configured(setting: Setting) -> bool:
    """Return whether the machine says so, and not the user of this installation."""
    return bool(setting.origin) and not setting.is_in_requirements


def _link(setting: Setting) -> str | None:
    """Return the address of a folder or page of links; None where pip would pass over it.

    :raises NoCounterpart: for a file.
    """
    value = setting.value
    if "://" in value and not value.startswith("file:"):
        return value
    path = Path(unquote(urlsplit(value).path) if value.startswith("file:") else value)
    if setting.is_in_requirements and (beside := Path(setting.origin).parent / path).exists():
        path = beside
    path = path.expanduser() if value.startswith("~") else path
    if path.is_dir():
        return path.absolute().as_uri()
    if path.exists():
        raise NoCounterpart(f"{setting}: {path} is no folder, and uv looks into folders only")
    return None


def _ranked(links: Iterable[str]) -> list[str]:
    """Return pages, the last first, then folders by their names: as pip ranks them."""
    links = list(links)
    pages = [link for link in reversed(links) if not link.startswith("file:")]
    return list(dict.fromkeys([*pages, *sorted(link for link in links if link.startswith("file:"))]))


def _url(setting: Setting) -> str:
    """Return the address of an index; that of a folder where it is written as a path."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", setting.value):
        return setting.value
    path = Path(setting.value)
    if path.exists():
        return path.absolute().as_uri()
    raise NoCounterpart(f"{setting} is no address")


def _choose_formats(value: str, wanted: set[str], other: set[str]) -> None:
    """Apply pip's own rule for ``--only-binary`` and ``--no-binary``, which take each other's packages."""
    names = value.split(",")
    while ":all:" in names:
        other.clear()
        wanted.clear()
        wanted.add(":all:")
        del names[: names.index(":all:") + 1]
        if ":none:" not in names:
            return
    for name in names:
        if name == ":none:":
            wanted.clear()
            continue
        canonical = re.sub(r"[-_.]+", "-", name.strip()).lower()
        other.discard(canonical)
        wanted.add(canonical)


def _index(word: str) -> dict[str, Any]:
    """Return the table of an index that is written as ``address`` or ``name=address``."""
    name, equals, address = word.partition("=")
    return {"name": name, "url": address} if equals and "/" not in name else {"url": word}


def _version(uv: str) -> tuple[int, ...]:
    """Return the version of a uv executable; empty when it does not say."""
    try:
        said = subprocess.check_output(
            [uv, "--version"], text=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_LONGEST_ANSWER
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def _toml(values: Mapping[str, Any], tables: Iterable[Mapping[str, Any]]) -> str:
    """Return a text in TOML, where texts, numbers, booleans and lists of texts are written as in JSON."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    for table in tables:
        lines += ["[[index]]", *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in table.items())]
    return "\n".join([*lines, ""])
