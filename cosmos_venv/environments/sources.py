"""Which indexes and folders do pip and uv take packages from, by their options, requirements files and settings?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosmos_venv.environments import credentials, options, pip_config, uv_config
from cosmos_venv.environments.content import options_in_file
from cosmos_venv.environments.options import InstallOption

Settings = Mapping[str, Sequence[str]]

_DEFAULT_INDEX = "the default index"  # of both tools: the same one


def options_in_files(given: Iterable[InstallOption]) -> list[InstallOption]:
    """The options that the given requirements files hold.

    :raises CosmosValueError: naming the file that cannot be read.
    """
    files = [option.value for option in given if option.names_requirements_file and option.value]
    return [option for file in files if "://" not in file for option in options_in_file(Path(file))]


def index_of_pip(given: Iterable[InstallOption], in_files: Iterable[InstallOption], pip: Settings) -> str:
    """Address of the one index that pip puts first."""
    return _first(_last(in_files), _last(given), *pip.get("index-url", ()))


def index_of_uv(given: Iterable[InstallOption], in_files: Iterable[InstallOption], uv: Settings) -> str:
    """Address of the one index that uv puts last."""
    return _first(*uv.get("default-index", ()), _last(given), *uv.get("index-url", ()), _last(in_files))


def is_without_index(given: Iterable[InstallOption], settings: Settings) -> bool:
    """Whether no index is asked."""
    return "no-index" in settings or any(option.name == "--no-index" for option in given)


def hosts(
    tool: str, pip_install_options: Iterable[str], requirements: Iterable[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Where the packages of an installation may have come from: hosts, and folders of this machine. No credentials.

    :param tool: ``pip`` or ``uv``; of another nobody knows here.
    """
    if tool not in ("pip", "uv"):
        return ()
    given = [*options.parse(pip_install_options), *options.in_requirements(requirements)]
    in_files = options_in_files(given)
    settings = pip_config.read(environ) if tool == "pip" else uv_config.read(environ, {each.name for each in given})
    first = index_of_pip(given, in_files, settings) if tool == "pip" else index_of_uv(given, in_files, settings)
    both = [*given, *in_files]
    addresses = [*settings.get("find-links", ()), *_values(both, "--find-links")]
    if not is_without_index(both, settings):
        extra = [*settings.get("extra-index-url", ()), *_values(both, "--extra-index-url", "--index")]
        addresses = [*(_values(both, "--default-index")[-1:] or [first]), *extra, *addresses]
    return tuple(dict.fromkeys(_host(address) for address in addresses))


def _values(given: Iterable[InstallOption], *names: str) -> list[str]:
    return [option.value for option in given if option.name in names and option.value]


def _last(given: Iterable[InstallOption]) -> str:
    return next(reversed(_values(given, "--index-url")), "")


def _first(*addresses: str) -> str:
    return next((address.rstrip("/") for address in addresses if address), _DEFAULT_INDEX)


def _host(address: str) -> str:
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    return place or unquote(parts.path) if parts.scheme else credentials.mask(address)
