"""pip's settings in the words and variables of uv, and the settings that uv cannot be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cosmos_venv.environments.installers.pip_config import LISTS
from cosmos_venv.environments.requirement_files import InstallOption

# Variables of uv by pip's option. An address may hold a credential, so it is no word of a command line.
_VARIABLES = {
    "--index-url": ("UV_DEFAULT_INDEX",),
    "--extra-index-url": ("UV_EXTRA_INDEX_URL",),
    "--find-links": ("UV_FIND_LINKS",),
    "--trusted-host": ("UV_INSECURE_HOST",),
    "--cert": ("SSL_CERT_FILE",),
    "--client-cert": ("SSL_CLIENT_CERT",),
    "--proxy": ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    "--timeout": ("UV_HTTP_TIMEOUT",),
    "--retries": ("UV_HTTP_RETRIES",),
}
_WORDS = {
    "--no-index": "--no-index",
    "--upgrade": "--upgrade",
    "--no-deps": "--no-deps",
    "--pre": "--prerelease=allow",
    "--require-hashes": "--require-hashes",
    "--only-binary": "--only-binary={}",
    "--no-binary": "--no-binary={}",
    "--cache-dir": "--cache-dir={}",
    "--no-cache-dir": "--no-cache",
}
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS")

# What uv obeys in a requirements file, which it reads itself. It passes over all else, such as --pre.
_IN_FILES = frozenset({
    "--index-url", "--extra-index-url", "--no-index", "--find-links", "--constraint", "--requirement", "--editable",
    "--no-binary", "--only-binary", "--hash",
})  # fmt: skip

# What says nothing of what is installed, or what a new environment makes void.
_OF_NO_CONCERN = frozenset({
    "--no-input", "--progress-bar", "--no-color", "--quiet", "--verbose", "--log", "--debug", "--format",
    "--disable-pip-version-check", "--no-python-version-warning", "--no-warn-script-location", "--no-warn-conflicts",
    "--root-user-action", "--exists-action", "--break-system-packages", "--compile", "--no-clean", "--resume-retries",
    "--ignore-installed", "--force-reinstall", "--upgrade-strategy",
})  # fmt: skip
_KNOWN = _OF_NO_CONCERN | _VARIABLES.keys() | _WORDS.keys() | {"--constraint"}


def unknown_to_uv(configured: Iterable[InstallOption], given: Iterable[InstallOption]) -> Iterator[str]:
    """Yield the settings that uv cannot be told, each with what names it.

    :param configured: what pip is configured with.
    :param given: the options of an installation, and those in its requirements files.
    """
    constraint = None
    for setting in configured:
        if setting.name not in _KNOWN:
            yield str(setting)
        constraint = setting if setting.name == "--constraint" else constraint
    for option in given:
        known = _IN_FILES if option.origin else _KNOWN | {"--requirement", "--editable"}
        if option.name not in known:
            yield str(option)
        if constraint and option.name in ("--hash", "--require-hashes"):
            yield f"{constraint} beside hashes: uv wants each constraint pinned with == then"


def uv_configuration(environ: Mapping[str, str]) -> Iterator[InstallOption]:
    """Yield pip's settings that variables of uv say.

    :param environ: the variables that uv would read.
    """
    for name, variables in _VARIABLES.items():
        for variable in variables:
            text = environ.get(variable, "") if variable.startswith("UV_") else ""
            for value in text.replace(",", " ").split() if name in LISTS else filter(None, [text]):
                yield InstallOption(name=name, value=value, origin=variable)


def for_uv(settings: Iterable[InstallOption], environ: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return words and variables by which uv is told pip's settings.

    :param settings: the settings; later ones of a kind take the place of earlier ones, or are added where pip takes a
        list.
    :param environ: the variables that pip would read.
    """
    values: dict[str, list[str]] = {}
    words = []
    for setting in settings:
        if setting.name in _WORDS:
            words.append(_WORDS[setting.name].format(setting.value))
        values.setdefault(setting.name, []).append(setting.value)
    # Of equal versions pip takes the last index's, and uv the first one's.
    values["--extra-index-url"] = values.get("--extra-index-url", [])[::-1]
    values["--proxy"] = [each if "://" in each else f"http://{each}" for each in values.get("--proxy", ())]
    # pip reads these before --cert, and uv reads none of them.
    bundles = [environ[name] for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE") if environ.get(name)]
    values["--cert"] = [*values.get("--cert", ()), *bundles]
    variables = {}
    for name, variables_of in _VARIABLES.items():
        if found := values.get(name):
            told = ("," if name == "--find-links" else " ").join(found) if name in LISTS else found[-1]
            variables.update(dict.fromkeys(variables_of, told))
    if not any(name in {*environ, *variables} for name in _CERTIFICATES):
        # pip trusts the certificates of the system too. The second is the name that an older uv knows.
        variables |= {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return tuple(dict.fromkeys(words)), variables
