"""Whether pip would have given the answer that uv has given.

Where requirements contradict each other a resolver goes back to older versions, each in its own order; and pip takes a
prerelease where nothing else fits, which uv does not. Both show in one thing: of some package there is a better version
that all of the answer's own requirements allow. Where there is none, or none that goes together with what was asked
for, nobody had a choice, and both tools give this answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import integrity, options
from cosmos_venv.environments.content import requirements_in_file
from cosmos_venv.environments.spec import EnvironmentSpec

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement

PASSED_OVER = r"[Pp]re-?release|\byanked\b"
"""In words of a uv that has found no solution: there may be one with a prerelease, or with what was withdrawn."""
_MOST_ROUNDS = 4
_WOULD_INSTALL = re.compile(r" \+ (?P<name>[\w.-]+)==(?P<version>\S+)")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of a dry run of uv.

    :param said: its output, line by line.
    """

    has_succeeded: bool
    said: Sequence[str]

    @property
    def has_no_solution(self) -> bool:
        """Whether it has said that it cannot be, whatever release of anything is taken."""
        text = "\n".join(self.said)
        return not self.has_succeeded and "No solution found" in text and not re.search(PASSED_OVER, text)


Try = Callable[[Sequence[str], Sequence[str]], Tried]
"""A dry run of uv for what was asked for, with further words and further lines of a requirements file."""


def why_not_pips(
    environment: Path, spec: EnvironmentSpec, *, takes_prereleases: bool, yanked: Sequence[str], try_: Try
) -> str:
    """Why pip might have given another answer than the one that is installed; empty where it would not.

    :param takes_prereleases: whether prereleases were as good as any version.
    :param yanked: what uv has installed although it was withdrawn.
    """
    found = integrity.distributions_in(environment)
    if unwanted := _for_other_pythons(found, spec.interpreter.version):
        return f"uv has taken {', '.join(unwanted)}, which is not for this Python"
    roots = _roots(spec)
    pins = {_canonical(name): version for name, version in integrity.pins_of(found).items()}
    if {_canonical(root.name) for root in roots if _has_one_version(root)}.issuperset(pins):
        return ""  # nobody had anything to choose
    if yanked:
        return f"uv has taken {', '.join(yanked)}, which was withdrawn"
    required = _requirements_of(found, roots)
    asked = set() if takes_prereleases else _with_prereleases([*_parsed(required), *roots]) & pins.keys()
    if not takes_prereleases and (early := _prereleases(found, asked)):
        return f"uv has taken {', '.join(early)}, a prerelease that no requirement names"
    if asked:
        # Of a package of which one prerelease is named pip takes any; uv did so too, once.
        named = _named(try_(["--no-deps", "--prerelease=allow"], required))
        for name in sorted(asked):
            if named.get(name) != pins[name]:
                return f"uv has taken {name} {pins[name]}, and a requirement names a prerelease of it"
    return _better_version(pins, required, {_canonical(root.name) for root in roots}, try_)


def _better_version(pins: Mapping[str, str], required: Sequence[str], roots: Collection[str], try_: Try) -> str:
    """The reason that lies in a version which uv might have taken.

    What was asked for comes first with both: it stays as it is when it is asked whether something else has a choice.
    """
    settled = [f"{root}=={pins[root]}" for root in roots if root in pins]
    ruled_out: list[str] = []
    for _ in range(_MOST_ROUNDS):
        tried = try_(["--no-deps"], [*required, *ruled_out])
        if not tried.has_succeeded:
            break
        better = {name: version for name, version in _named(tried).items() if pins.get(name, version) != version}
        if not better:
            return ""
        for name, version in better.items():
            others = [] if name in roots else settled
            if not try_([], [f"{name}=={version}", *others]).has_no_solution:
                return (
                    f"uv has taken {name} {pins[name]}, where {version} is to be had: the requirements leave a choice"
                )
            ruled_out.append(f"{name}!={version}")
    return "uv does not say whether pip would give this answer too"


def _requirements_of(found: Iterable[Distribution], roots: Sequence[Requirement]) -> list[str]:
    """What everything that is installed requires, as lines of a requirements file; of extras what was asked for."""
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


def _named(tried: Tried) -> dict[str, str]:
    """The versions that it would install."""
    found = (match for line in tried.said if (match := _WOULD_INSTALL.match(line)))
    return {_canonical(match["name"]): match["version"] for match in found}


def _with_prereleases(required: Iterable[Requirement]) -> set[str]:
    """Packages of which some requirement names a prerelease."""
    return {
        _canonical(requirement.name)
        for requirement in required
        if any(_is_prerelease(each.version) for each in requirement.specifier)
    }


def _prereleases(found: Iterable[Distribution], asked: Collection[str]) -> list[str]:
    """Prereleases that no requirement names: of when to take one each release of pip and uv has a rule of its own."""
    return [
        f"{each.metadata['Name']} {each.version}"
        for each in found
        if _is_prerelease(each.version)
        and _canonical(each.metadata["Name"]) not in asked
        and each.read_text("direct_url.json") is None
    ]


def _for_other_pythons(found: Iterable[Distribution], python: str) -> list[str]:
    """What does not want to be installed on this Python: uv looks at lower bounds only.

    :param python: its version.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    unwanted = []
    for each in found:
        wanted = each.metadata["Requires-Python"]
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
    given = [*options.parse(spec.pip_install_options), *options.in_requirements(spec.requirements)]
    for option in given:
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
    """The requirement for uv, which knows the environment's Python; empty where it is not wanted."""
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
