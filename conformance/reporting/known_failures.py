"""Known failures of an implementation: a text file of its own, with one requirement in each line.

# id      | reason                      | link                    | until
LOCK-017  | tasks queue behind dbt      | https://…/issues/12     | 2027-01-31
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from .verdicts import KEPT, Judgement, Verdict, is_undone_promise

KnownFailures = Mapping[str, "KnownFailure"]
_HEAD = "# requirement | reason | link | until (optional)"


@dataclass(frozen=True, kw_only=True)
class KnownFailure:
    """One line.

    :param requirement: its id.
    :param reason: why it fails.
    :param link: such as to an issue; may be empty.
    :param until: the last day on which it counts; None: for good.
    """

    requirement: str
    reason: str
    link: str = ""
    until: date | None = None

    def __str__(self) -> str:
        words = [self.requirement, self.reason, self.link, "" if self.until is None else self.until.isoformat()]
        return " | ".join(words).rstrip(" |")


def read_known_failures(
    file: str | None, specification: Collection[str], *, today: date | None = None
) -> dict[str, KnownFailure]:
    """The known failures by id.

    :param file: path of the file; None: there is none.
    :param specification: ids of all requirements.
    :param today: the day on which lines are read; None: this day.
    :raises pytest.UsageError: the file cannot be read or is no UTF-8. Or a line names no requirement, a requirement
        that stands there already, no reason, or a day that is over.
    """
    if file is None:
        return {}
    found: dict[str, KnownFailure] = {}
    for number, line in enumerate(_text_of(Path(file)).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        one = _line(f"{file}, line {number}", line)
        if fault := _fault(one, specification, found, today or date.today()):  # noqa: DTZ011 - a day
            raise pytest.UsageError(f"{file}, line {number}: {fault}")
        found[one.requirement] = one
    return found


def _text_of(file: Path) -> str:
    """The file's text without the byte order mark that some editors put at the beginning."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise pytest.UsageError(f"--cosmos-known-failures={file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise pytest.UsageError(f"{file} is no UTF-8 ({error}). Save the file as UTF-8.") from None


def _line(where: str, text: str) -> KnownFailure:
    words = [word.strip() for word in text.split("|")]
    requirement, reason, link, until = (*words, "", "", "")[:4]
    try:
        day = date.fromisoformat(until) if until else None
    except ValueError:
        raise pytest.UsageError(f"{where}: {until!r} is no day: write it as 2027-01-31.") from None
    return KnownFailure(requirement=requirement, reason=reason, link=link, until=day)


def _fault(one: KnownFailure, specification: Collection[str], listed: Collection[str], today: date) -> str | None:
    if one.requirement not in specification:
        return f"{one.requirement!r} is no requirement of this specification. Drop the line."
    if one.requirement in listed:
        return f"{one.requirement} stands there twice. Drop one of the lines."
    if not one.reason:
        return f"{one.requirement} has no reason. Write one after a |."
    if one.until is not None and one.until < today:
        return f"{one.requirement} was to be mended until {one.until}. Mend it, or choose another day."
    return None


@dataclass(frozen=True, kw_only=True)
class Update:
    """The list as a run leaves it.

    :param text: the text of the file.
    :param added: ids of requirements that failed and were not on the list; also of each MUST that differs on purpose.
    :param dropped: ids of requirements that were on the list and passed.
    """

    text: str
    added: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        words = [f"added {', '.join(self.added)}: write a reason for each"] if self.added else []
        words += [f"dropped {', '.join(self.dropped)}, which passed"] if self.dropped else []
        return "; ".join(words) or "left as it was"


def updated(text: str, judgements: Iterable[Judgement], *, in_part: Collection[str] = ()) -> Update:
    """The list after a run. A line is removed only if its requirement passed; other lines and comments stay unchanged.

    :param text: the list before; empty where there is none.
    :param judgements: the judgements of the run.
    :param in_part: ids of requirements of which not every test was run: it is not known that these pass.
    """
    found = list(judgements)
    verdicts = {each.requirement.id: each.verdict for each in found}
    before = text.splitlines()
    listed = [line.partition("|")[0].strip() for line in before]  # an id, or a comment
    passed = {unique for unique, verdict in verdicts.items() if verdict in KEPT and unique not in in_part}
    added = tuple(
        each.requirement.id
        for each in found
        if is_undone_promise(each, listed) or (each.verdict is Verdict.FAILED and each.requirement.id not in listed)
    )
    kept = [line for one, line in zip(listed, before, strict=True) if one not in passed]
    new = [str(KnownFailure(requirement=each, reason="not looked into yet")) for each in added]
    return Update(
        text="".join(f"{line}\n" for line in [*(kept if before else [_HEAD]), *new]),
        added=added,
        dropped=tuple(one for one in listed if one in passed),
    )


def update_known_failures(file: Path, judgements: Iterable[Judgement], *, in_part: Collection[str] = ()) -> Update:
    """Bring the file up to date with a run, in one atomic step. A missing file is made.

    :param file: the list.
    :param judgements: the judgements of the run.
    :param in_part: ids of requirements of which not every test was run: it is not known that these pass.
    """
    update = updated(_text_of(file) if file.exists() else "", judgements, in_part=in_part)
    beside = file.with_name(f"{file.name}.new")
    beside.write_text(update.text, encoding="utf-8")
    beside.replace(file)
    return update
