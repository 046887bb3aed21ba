"""Answers of dbt, kept on this machine, and for other machines where a setting says so.

An answer is the pruned manifest of a project, or the lines of ``dbt ls`` with a selection. It is kept under the digest
of all that is known before dbt runs. Which variables the installed packages ask for is known only after that run. Their
names and a digest of their values are in the first line of the answer. If a value has changed, the answer does not
count.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv import settings
from cosmos_venv.credentials import mask
from cosmos_venv.dbt.project_files import digest_of_values
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.own_files import is_private, make_private
from cosmos_venv.files.read_limits import MEBIBYTE, Limit, packed, unpacked, value_of
from cosmos_venv.managed import caches, resolve
from cosmos_venv.project.dbt_ls_runner import LsOutput
from cosmos_venv.project.fingerprint import Basis, LsQuestion
from cosmos_venv.remote.download_cache import NotSigned, RemoteError

if TYPE_CHECKING:
    from cosmos_venv.remote.object_store import RemoteFolder


logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for the storage of other machines, which only saves time
_SUFFIX = ".answer"
_LARGEST_VARIABLE = Limit(most=MEBIBYTE)
_DESCRIPTION = "What dbt ls has said of a project, kept by cosmos-venv for other machines. It may be deleted."
_SHORTEST_AGE = 60.0  # seconds that an answer lives at the least, so that a later parse finds it


def _patience() -> float:
    """Return the seconds to wait for the storage: a parse is left with half of its time at least."""
    return min(_PATIENCE, resolve.seconds_for_a_parse() or _PATIENCE)


class _Head(msgspec.Struct, omit_defaults=True):
    """The first line of a kept answer. The rest is its content, compressed.

    :param until: the end of the answer's life, in seconds since the epoch, where nothing pins the packages that it
        depends on. None: it does not expire.
    :param names: the environment variables that installed packages ask for.
    :param values: a digest of their values at that time. With other values the answer does not count.
    """

    until: float | None = None
    names: tuple[str, ...] = ()
    values: str = ""


@dataclass(frozen=True, kw_only=True)
class DbtAnswer:
    """The answer of dbt to one question.

    :param content: the pruned manifest, or the lines of ``dbt ls`` with a selection.
    :param was_kept: whether the answer was found, so that dbt was not started.
    :param version: a text that differs where the content may differ; None where that cannot be known.
    :param ages: whether the answer expires.
    """

    content: bytes
    was_kept: bool
    version: str | None = None
    ages: bool = False


@dataclass(frozen=True, kw_only=True)
class VariableAnswers:
    """The answer to one question, in one Airflow Variable, for machines without common storage.

    The Variable holds a JSON object with one file, the latest answer: name to content. A user who can write the
    Variable decides which tasks the DAGs of the project have.

    :param question: a text that differs for each question.
    """

    question: str = field(repr=False)

    @cached_property
    def name(self) -> str:
        """The name of the Variable.

        The question can hold a password, so the hash in the name takes milliseconds on purpose. A parse that finds its
        answer on this machine reads no Variable and does not compute the name.
        """
        return f"cosmos_venv_answer_{digest_of_values({'question': self.question}, ['question'])[:32]}"

    def __str__(self) -> str:
        return f"[cosmos_venv] share_answers_in_variables: the Airflow Variable {self.name}"

    def read(self, name: str, *, seconds: float, limit: Limit) -> bytes | None:  # noqa: ARG002 - as of a RemoteFolder
        """The content of a file; None when the Variable holds no file of that name.

        :param name: of the file.
        :param seconds: not used: a Variable is read without a time-out.
        :param limit: not used: Variables have a smaller limit.
        :raises RemoteError: when the Variable cannot be read.
        """
        from cosmos_venv.compat import variable  # a process that outlives a parse does not pay for Airflow

        try:
            text = variable(self.name)
        except Exception as error:
            raise _no_variables(error) from error
        answer = (value_of(text, dict[str, str], _LARGEST_VARIABLE) or {}).get(name)
        return None if answer is None else answer.encode()

    def write(self, name: str, content: bytes, *, seconds: float) -> None:  # noqa: ARG002 - as of a RemoteFolder
        """Keep a file in place of the earlier answer. A file that is too long is not kept, and the log says so.

        :param name: of the file.
        :param content: its bytes, which are ASCII.
        :param seconds: not used: a Variable is written without a time-out.
        :raises RemoteError: when the Variable cannot be written.
        """
        text = json.dumps({name: content.decode("ascii")})
        if _LARGEST_VARIABLE.is_exceeded_by(len(text)):
            logger.warning(
                "%s is not written: the answer has %s bytes, and a Variable takes %s. Set [cosmos] remote_cache_dir.",
                self,
                f"{len(text):,}",
                f"{_LARGEST_VARIABLE.most:,}",
            )
            return
        from cosmos_venv.compat import set_variable  # as above

        try:
            set_variable(self.name, text, _DESCRIPTION)
        except Exception as error:
            raise _no_variables(error) from error


def _no_variables(error: Exception) -> RemoteError:
    # The connection of Airflow 3, which only its DAG processor and its tasks have, cannot be imported elsewhere.
    is_by_hand = isinstance(error, ImportError)
    return RemoteError(
        "a DAG file that is run by hand has no Variables" if is_by_hand else mask(str(error)), has_answered=True
    )


@dataclass(kw_only=True)
class KeptAnswer:
    """The place where the answer to one question is kept.

    :param basis: the facts that the answer depends on.
    :param env: the environment variables that dbt is given.
    :param files: the files in which answers are kept on this machine.
    :param remote: where answers that do not expire are kept for other machines. None: there are no other machines.
    """

    basis: Basis
    env: Mapping[str, str] = field(repr=False)
    files: FileCache
    remote: RemoteFolder | VariableAnswers | None = None

    @property
    def version(self) -> str | None:
        """A text that differs where the answer may differ; None where no valid answer is kept."""
        file = self.files.opened(self.basis.digest)
        if file is None:
            return None
        with file:
            head = self._head_of(file.readline())
        return None if head is None else self._version_of(head)

    def find(self) -> DbtAnswer | None:
        """The kept answer of this machine or of another machine; None when there is no valid answer."""
        text = self.files.read(self.basis.digest)
        found = None if text is None else self._answer_in(text)
        if text is not None and found is not None:
            self._share(text, found)
        return found or self._find_elsewhere()

    def _find_elsewhere(self) -> DbtAnswer | None:
        """The answer that another machine has shared. It is kept on this machine from now on."""
        if self.remote is None:
            return None
        try:
            text = self.remote.read(self._name, seconds=_patience(), limit=settings.limit("artifact_max_bytes"))
        except NotSigned as error:
            logger.warning("[cosmos] remote_cache_dir %s: %s is not used: %s.", self.remote, self._name, error)
            return None
        except RemoteError as error:
            self._warn(error)
            return None
        found = None if text is None else self._answer_in(text)
        if text is not None and found is not None:
            self.files.write(self.basis.digest, text)
            self._note_as_shared(found)
        return found

    def write(self, said: LsOutput) -> DbtAnswer:
        """Keep an answer and return it. Whatever goes wrong, there is at most one warning.

        :param said: the answer of dbt.
        """
        others = tuple(sorted(said.names - self.basis.names))
        until = None if said.is_pinned else time.time() + max(settings.packages_max_age, _SHORTEST_AGE)
        head = _Head(until=until, names=others, values=digest_of_values(self.env, others))
        text = b"\n".join([msgspec.json.encode(head), packed(said.content).encode()])
        self.files.write(self.basis.digest, text)
        answer = DbtAnswer(content=said.content, was_kept=False, version=self._version_of(head), ages=until is not None)
        self._share(text, answer)
        return answer

    @property
    def _name(self) -> str:
        return f"{self.basis.digest}{_SUFFIX}"

    def _head_of(self, line: bytes) -> _Head | None:
        """The head of an answer; None where the answer has expired, or the line is no head."""
        head = value_of(line, _Head)
        if head is None or (head.until is not None and head.until < time.time()):
            return None
        return head if digest_of_values(self.env, head.names) == head.values else None

    def _version_of(self, head: _Head) -> str:
        return f"{self.basis.digest}-{head.until}-{head.values}"

    def _answer_in(self, text: bytes) -> DbtAnswer | None:
        """The answer; None where it has expired, was cut short, or unpacks to more bytes than an artifact may have."""
        line, _, rest = text.partition(b"\n")
        head = self._head_of(line)
        if head is None:
            return None
        content = unpacked(rest.decode("ascii", errors="replace"), settings.limit("artifact_max_bytes"))
        if content is None:
            return None
        version = self._version_of(head)
        return DbtAnswer(content=content, was_kept=True, version=version, ages=head.until is not None)

    @property
    def _shared_mark(self) -> str:
        return f"{self.basis.digest}-shared"

    def _note_as_shared(self, answer: DbtAnswer) -> None:
        self.files.write(self._shared_mark, str(answer.version).encode())

    def _share(self, text: bytes, answer: DbtAnswer) -> None:
        """Share an answer with other machines, once. A process that outlives a parse cannot reach them: the next parse
        shares the answer that this process has kept.
        """
        is_shared = answer.ages or self.files.read(self._shared_mark) == str(answer.version).encode()
        if self.remote is None or is_shared:
            return
        try:
            self.remote.write(self._name, text, seconds=_patience())
            # Only after the write: if Airflow ends the parse during the write, the next parse shares the answer.
            self._note_as_shared(answer)
        except RemoteError as error:
            self._warn(error)

    def _warn(self, error: RemoteError) -> None:
        if settings.remote_cache_dir:
            logger.warning("[cosmos] remote_cache_dir %s is of no use now: %s.", self.remote, error)
        else:  # no warning: nobody has asked for Variables, and a DAG file that is run by hand has none
            logger.info("%s is not used: %s.", self.remote, error)
        self.remote = None


def kept_answer(question: LsQuestion) -> tuple[KeptAnswer | None, str]:
    """Return the place of the answer to a question, with an empty text; or None, with the reason why none can be kept.

    :param question: the question.
    """
    files = caches.kept_listings()
    if files is None:
        return None, "[cosmos] enable_cache or enable_cache_dbt_ls is off"
    with suppress(OSError):
        make_private(files.folder)
    if not is_private(files.folder):
        return None, (
            f"{files.folder} cannot be made, or belongs to another user, or others may write to it or a folder above "
            "(use chmod go-w, for a folder above also chmod +t; or set [cosmos_venv] cache_dir to a folder of the user "
            "who runs Airflow alone)"
        )
    from cosmos_venv.compat import shared_by_import  # a process that outlives a parse does not pay for Airflow

    basis = question.basis(seen=shared_by_import())
    if basis.unknown:
        return None, basis.unknown
    kept = KeptAnswer(
        basis=basis,
        env=question.env,
        files=files,
        remote=caches.remote_listings() or _variable_of(question),
    )
    return kept, ""


def _variable_of(question: LsQuestion) -> VariableAnswers | None:
    """The Variable in which machines share the answer to a question; None where no setting says so."""
    if not settings.share_answers_in_variables:
        return None
    return VariableAnswers(question=json.dumps([question.project_dir.name, question.profile_flags, question.arguments]))
