"""The check whether pip would have given the answer that uv has given.

Where requirements contradict each other a resolver goes back to older versions, each in its own order; and pip takes a
prerelease where nothing else fits, which uv does not. Both show in one thing: of some package there is a better version
that all of the answer's own requirements allow. Where there is none, nobody had a choice, and both tools give this
answer. Where there is one it may be that nothing else goes with it; pip may still have ended elsewhere, or nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import post_install, requirement_files
from cosmos_venv.environments.requirement_files import requirements_in_file
from cosmos_venv.environments.spec import EnvironmentSpec

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement

PASSED_OVER = r"[Pp]re-?release|\byanked\b"
"""In words of a uv that has found no solution: there may be one with a prerelease, or with what was withdrawn."""
_WOULD_INSTALL = re.compile(r" \+ (?P<name>[\w.-]+)==(?P<version>\S+)")


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The outcome of a dry run of uv.

    :param has_succeeded: whether it ended without an error.
    :param said: its output, line by line.
    """

    has_succeeded: bool
    said: Sequence[str]


DryRunner = Callable[[Sequence[str], Sequence[str]], DryRun]
"""A dry run of uv for what was asked for, with further words and further lines of a requirements file."""


def why_pip_may_differ(
    environment: Path,
    spec: EnvironmentSpec,
    *,
    takes_prereleases: bool,
    yanked: Sequence[str],
    folders: Iterable[Path],
    files: Iterable[Path],
    dry_run: DryRunner,
) -> str:
    """Return why pip might have given another answer than the one that is installed; empty where it would not.

    :param environment: directory of the environment.
    :param spec: what was to be installed.
    :param takes_prereleases: whether prereleases were as good as any version.
    :param yanked: packages that uv has installed although they were withdrawn.
    :param folders: of this machine, in which packages were looked for.
    :param files: of requirements and constraints that were obeyed.
    :param dry_run: runs uv for what was asked for, and more.
    """
    found = post_install.distributions_in(environment)
    if unwanted := _for_other_pythons(found, spec.interpreter.version):
        return f"uv has taken {', '.join(unwanted)}, which is not for this Python"
    roots = _roots(spec)
    pins = {_canonical(name): version for name, version in post_install.pins_of(found).items()}
    if {_canonical(root.name) for root in roots if _has_one_version(root)}.issuperset(pins):
        return ""  # nobody had anything to choose
    if yanked:
        return f"uv has taken {', '.join(yanked)}, which was withdrawn"
    lines = _requirements_of(found, roots)
    answer = _Answer(found=found, pins=pins, roots=roots, lines=lines, dry_run=dry_run)
    # Of a package of which one prerelease is named pip takes any, and a constraint names it as a requirement does.
    required = [*_parsed(lines), *roots, *_parsed(line for file in files for line in requirements_in_file(file))]
    early = set(pins) if takes_prereleases else _with_prereleases(required) & pins.keys()
    if not takes_prereleases and (reason := answer.why_not_for_prereleases(early)):
        return reason
    return answer.why_not_for_versions() or answer.why_not_for_wheels(folders, early)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The packages that uv has installed, and all that limited its choice.

    :param found: the distributions.
    :param pins: version of each, by its canonical name.
    :param roots: what was asked for.
    :param lines: what everything that is installed requires.
    :param dry_run: as for ``why_pip_may_differ``.
    """

    found: Sequence[Distribution]
    pins: Mapping[str, str]
    roots: Sequence[Requirement]
    lines: Sequence[str]
    dry_run: DryRunner

    def why_not_for_prereleases(self, named: Collection[str]) -> str:
        """Return why pip might have chosen other prereleases; empty where it would not.

        :param named: packages of which a requirement names a prerelease.
        """
        if early := _prereleases(self.found, named):
            return f"uv has taken {', '.join(early)}, a prerelease that no requirement names"
        if not named:
            return ""
        # uv took any of those too, once.
        with_any = _named(self.dry_run(["--no-deps", "--prerelease=allow"], self.lines))
        missed = [name for name in sorted(named) if with_any.get(name) != self.pins[name]]
        return f"uv has taken no prerelease of {', '.join(missed)}, and a requirement names one" if missed else ""

    def why_not_for_versions(self) -> str:
        """Return which better versions would have been allowed; empty where there are none."""
        if limited := _limited(_parsed(self.lines)) & {_canonical(root.name) for root in self.roots}:
            # Which of two gives way is for each to decide, where both were asked for.
            alone = _named(self.dry_run(["--no-deps"], []))
            lowered = [name for name in sorted(limited) if alone.get(name, self.pins.get(name)) != self.pins.get(name)]
            if lowered:
                return f"something that uv has taken rules out the best {', '.join(lowered)}: there may be a choice"
        outcome = self.dry_run(["--no-deps"], self.lines)
        if not outcome.has_succeeded:
            return "uv does not say whether pip would give this answer too"
        better = [
            f"{name} {self.pins[name]}, where {version} is to be had"
            for name, version in sorted(_named(outcome).items())
            if self.pins.get(name, version) != version
        ]
        return f"uv has taken {', '.join(better)}: the requirements may leave a choice" if better else ""

    def why_not_for_wheels(self, folders: Iterable[Path], early: Collection[str]) -> str:
        """Return newer wheels of a folder that every requirement allows, and that uv has passed over; empty where there
        are none.

        An index says for which Python a file is; of a folder pip learns it late, and may go back elsewhere then.

        :param folders: of this machine.
        :param early: packages of which a prerelease is as good.
        """
        required = [*_parsed(self.lines), *self.roots]
        newer = [
            file.name
            for folder in folders
            for file in sorted(folder.glob("*-none-any.whl"))
            if _is_newer(file.name, self.pins, required, early)
        ]
        return f"uv has passed over {', '.join(newer)}, at which pip would have looked" if newer else ""


def _requirements_of(found: Iterable[Distribution], roots: Sequence[Requirement]) -> list[str]:
    """Return the requirements of everything that is installed, and of the extras that were asked for, as lines of a
    file.
    """
    found = list(found)
    required = [requirement for each in found for requirement in _parsed(each.requires or ())]
    # A package is required by several at times, each with extras of its own.
    extras: dict[str, set[str]] = {}
    for requirement in [*required, *roots]:
        extras.setdefault(_canonical(requirement.name), set()).update(requirement.extras)
    lines: list[str] = []
    for each in found:
        wanted = extras.get(_canonical(each.metadata["Name"]), set())
        lines += filter(None, (_line(requirement, wanted) for requirement in _parsed(each.requires or ())))
    return list(dict.fromkeys(lines))


def _named(outcome: DryRun) -> dict[str, str]:
    """Return the versions that a dry run would install."""
    found = (match for line in outcome.said if (match := _WOULD_INSTALL.match(line)))
    return {_canonical(match["name"]): match["version"] for match in found}


def _is_newer(wheel: str, pins: Mapping[str, str], required: Iterable[Requirement], early: Collection[str]) -> bool:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import Version

    try:
        name, version, *_ = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return False
    if name not in pins or version <= Version(pins[name]) or (version.is_prerelease and name not in early):
        return False
    limits = [each.specifier for each in required if _canonical(each.name) == name]
    return all(limit.contains(version, prereleases=True) for limit in limits)


def _limited(required: Iterable[Requirement]) -> set[str]:
    """Return packages of which some requirement rules out newer releases."""
    return {
        _canonical(requirement.name)
        for requirement in required
        if any(each.operator not in (">", ">=") for each in requirement.specifier)
    }


def _with_prereleases(required: Iterable[Requirement]) -> set[str]:
    """Return packages of which some requirement names a prerelease."""
    return {
        _canonical(requirement.name)
        for requirement in required
        if any(_is_prerelease(each.version) for each in requirement.specifier)
    }


def _prereleases(found: Iterable[Distribution], asked: Collection[str]) -> list[str]:
    """Return prereleases that no requirement names. Each release of pip and uv has its own rule when to take one."""
    return [
        f"{each.metadata['Name']} {each.version}"
        for each in found
        if _is_prerelease(each.version)
        and _canonical(each.metadata["Name"]) not in asked
        and each.read_text("direct_url.json") is None
    ]


def _for_other_pythons(found: Iterable[Distribution], python: str) -> list[str]:
    """Return what does not want to be installed on this Python: uv looks at lower bounds only.

    :param python: its version.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    unwanted = []
    for each in found:
        # importlib_metadata, which Airflow may have imported, raises KeyError where the standard library returns None.
        wanted = next(iter(each.metadata.get_all("Requires-Python") or ()), None)
        try:
            if wanted and not SpecifierSet(wanted).contains(python, prereleases=True):
                unwanted.append(f"{each.metadata['Name']} {each.version}")
        except InvalidSpecifier:  # then pip does not know either
            continue
    return unwanted


def _is_prerelease(version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version.removesuffix(".*")).is_prerelease
    except InvalidVersion:
        return False


def _roots(spec: EnvironmentSpec) -> list[Requirement]:
    texts = [text for text in spec.requirements if not text.lstrip().startswith("-")]
    for option in requirement_files.given_options(spec.pip_install_options, spec.requirements):
        if option.name == "--requirement" and option.value and "://" not in option.value:
            texts += requirements_in_file(Path(option.value))
        elif not option.name:
            texts.append(option.value or "")
    return _parsed(texts)


def _parsed(texts: Iterable[str]) -> list[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    parsed = []
    for text in texts:
        try:
            parsed.append(Requirement(text))
        except InvalidRequirement:  # a path, a URL, or what an old release has written: it rules out nothing here
            continue
    return parsed


def _has_one_version(requirement: Requirement) -> bool:
    exact = [each for each in requirement.specifier if each.operator in ("==", "===") and "*" not in each.version]
    return bool(exact)


def _line(requirement: Requirement, extras: set[str]) -> str:
    """Return a requirement for uv, which knows the environment's Python; empty where it is not wanted."""
    if requirement.url:
        return ""
    marker = str(requirement.marker or "")
    if "extra" in marker:
        if requirement.marker is None or not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            return ""
        marker = ""
    return f"{requirement.name}{requirement.specifier}" + (f" ; {marker}" if marker else "")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
