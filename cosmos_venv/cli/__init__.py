"""The command ``cosmos-venv``: what can be done about managed environments from a shell, a Dockerfile, a script.

Exit codes: 0 all is well, 1 something is wrong, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich_argparse import RichHelpFormatter

from cosmos_venv import __version__
from cosmos_venv.cli.env_build import env_build

__all__ = ["main"]

_ENV_BUILD = (
    "Imports each DAG file and builds, in the foreground, the managed environment of each of its virtualenv tasks that "
    "keeps one (virtualenv_dir). What is ready stays as it is. Exit code 1: a file cannot be imported, an environment "
    "cannot be built, or is known only when its task runs (virtualenv_dir is a template, or mapped), or no file makes "
    "a DAG. A file without DAG beside others that make some is only mentioned, so that dags/*.py may be given; tasks "
    "that keep no environment are no failure."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code; wrong use exits with 2, as argparse does."""
    options = _parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cosmos-venv", description=__doc__, formatter_class=RichHelpFormatter)
    parser.add_argument("--version", action="version", version=f"cosmos-venv {__version__}")
    subjects = parser.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    env = subjects.add_parser("env", help="managed environments", formatter_class=RichHelpFormatter)
    actions = env.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build",
        help="build the environments that the tasks of DAG files need",
        description=_ENV_BUILD,
        formatter_class=RichHelpFormatter,
    )
    build.add_argument("dagfiles", nargs="+", type=_existing_file, metavar="DAGFILE", help="a Python file with DAGs")
    build.add_argument("--json", action="store_true", help="print what was done as JSON")
    build.add_argument(
        "--dir",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="build there, whatever virtualenv_dir says: a directory of an image, for [cosmos_venv] "
        "virtualenv_search_path",
    )
    build.set_defaults(run=lambda options: env_build(options.dagfiles, directory=options.dir, as_json=options.json))
    return parser


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return path.resolve()
