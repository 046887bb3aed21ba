"""Which indexes and folders an installation takes its packages from: hosts and paths, for a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

from cosmos_venv.environments import credentials, options, pip_config, uv_config
from cosmos_venv.environments.installer import Installer
from cosmos_venv.environments.pip_config import Places, Setting

_DEFAULT_INDEX = "the default index"  # of both tools: the same one


def hosts(
    installer: Installer, pip_install_options: Iterable[str], requirements: Iterable[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Where the packages of an installation may have come from: hosts, and folders of this machine. No credentials.

    :param installer: of one that was handed down nobody knows where it looks.
    """
    if installer.command:
        return ()
    pip_install_options, requirements = list(pip_install_options), list(requirements)
    of_machine = pip_config.configured(environ) if installer.obeys_pip_config else []
    told = pip_config.told(pip_install_options, requirements, environ, of_machine=of_machine)
    places = Places.of(told)
    of_uv = _values(told, "index"), _values(told, "default-index")[-1:]
    links = [setting.value for setting in places.links]
    first, extra = [setting.value for setting in filter(None, [places.index])], [each.value for each in places.extra]
    without_index = places.without_index
    if not installer.obeys_pip_config:
        given = {
            option.name for option in [*options.parse(pip_install_options), *options.in_requirements(requirements)]
        }
        own = uv_config.read(environ, given)
        without_index = without_index or "no-index" in own
        links = [*own.get("find-links", ()), *links]
        first = [*own.get("default-index", ()), *first, *own.get("index-url", ())]
        extra = [*own.get("extra-index-url", ()), *extra]
    if not without_index:
        links = [*(of_uv[1] or first or [""])[:1], *extra, *of_uv[0], *links]
    return tuple(dict.fromkeys(_host(address) for address in links))


def _values(told: Iterable[Setting], name: str) -> list[str]:
    return [setting.value for setting in told if setting.name == name and setting.value]


def _host(address: str) -> str:
    if not address:
        return _DEFAULT_INDEX
    parts = urlsplit(credentials.remove(address))
    return parts.netloc or unquote(parts.path) if parts.scheme else credentials.mask(address)
