"""Answers of dbt in Airflow Variables, for machines without common storage: one Variable for one question.

A Variable holds a JSON object with one file, the latest answer: name to content. A user who can write the Variable
decides which tasks the DAGs of the project have.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cached_property

from cosmos_venv.compat import set_variable, variable
from cosmos_venv.credentials import mask
from cosmos_venv.dbt.project_files import digest_of_values
from cosmos_venv.files.read_limits import MEBIBYTE, Limit, value_of
from cosmos_venv.remote.download_cache import RemoteError

logger = logging.getLogger(__name__)

_LARGEST = Limit(most=MEBIBYTE)
_DESCRIPTION = "What dbt ls has said of a project, kept by cosmos-venv for other machines. It may be deleted."


@dataclass(frozen=True, kw_only=True)
class VariableAnswers:
    """The answer to one question, in one Variable.

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
        try:
            text = variable(self.name)
        except Exception as error:
            raise RemoteError(mask(str(error)), has_answered=True) from error
        answer = (value_of(text, dict[str, str], _LARGEST) or {}).get(name)
        return None if answer is None else answer.encode()

    def write(self, name: str, content: bytes, *, seconds: float) -> None:  # noqa: ARG002 - as of a RemoteFolder
        """Keep a file in place of the earlier answer. A file that is too long is not kept, and the log says so.

        :param name: of the file.
        :param content: its bytes, which are ASCII.
        :param seconds: not used: a Variable is written without a time-out.
        :raises RemoteError: when the Variable cannot be written.
        """
        text = json.dumps({name: content.decode("ascii")})
        if _LARGEST.is_exceeded_by(len(text)):
            logger.warning(
                "%s is not written: the answer has %s bytes, and a Variable takes %s. Set [cosmos] remote_cache_dir.",
                self,
                f"{len(text):,}",
                f"{_LARGEST.most:,}",
            )
            return
        try:
            set_variable(self.name, text, _DESCRIPTION)
        except Exception as error:
            raise RemoteError(mask(str(error)), has_answered=True) from error
