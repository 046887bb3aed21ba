"""The command ``cosmos-venv``: environments, plans, seeds, servers and checks, from a shell or a script."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from cosmos_venv import __version__, credentials
from cosmos_venv.cli import doctor, env, render, seeds, server
from cosmos_venv.cli.output import INTERRUPTED, NO_READER, Result, only_the_result_on_stdout
from cosmos_venv.cli.parsing import EXIT_CODES, HelpFormatter
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError, VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.processes.inherited_environment import leave_airflows_process

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Wrong use exits with 2, as argparse does.

    :param arguments: words of the command line without the program's name; None: those of this process.
    :returns: the exit code.
    """
    options = _parser().parse_args(arguments)
    # A BashOperator passes on the environment variables of Airflow's task process. They prevent an import of Airflow.
    leave_airflows_process()
    try:
        code = _result_of(options).print(as_json=options.json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try to write the rest of the buffer once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return NO_READER
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _result_of(options: argparse.Namespace) -> Result:
    try:
        with only_the_result_on_stdout():
            result: Result = options.run(options)
    except (VirtualenvError, CosmosValueError, CosmosLoadDbtException, OSError) as error:
        told = os_errors.shortage(error) if isinstance(error, OSError) else None
        text = credentials.mask(told or str(error))
        return Result(data={"error": text}, failures=[text])
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cosmos-venv", description=__doc__, epilog=EXIT_CODES, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"cosmos-venv {__version__}")
    subjects = parser.add_subparsers(title="Subjects", required=True, metavar="SUBJECT")
    for subject in (env, server, render, seeds, doctor):
        subject.add_to(subjects)
    return parser
