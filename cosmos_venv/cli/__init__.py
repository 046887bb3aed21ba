"""The command ``cosmos-venv``: environments, plans, seeds and faults, from a shell, a Dockerfile, a script.

Exit codes: 0 all is well, 1 something is wrong, 2 the command was used wrongly.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich_argparse import RichHelpFormatter

from cosmos_venv import __version__
from cosmos_venv.cli.doctor import doctor
from cosmos_venv.cli.env_build import env_build
from cosmos_venv.cli.env_prune import env_prune
from cosmos_venv.cli.env_store import env_inspect, env_list, env_verify
from cosmos_venv.cli.render import FORMATS, TEST_BEHAVIORS, Options, is_project, render
from cosmos_venv.cli.seeds import seeds_forget, seeds_list
from cosmos_venv.environments.upkeep import DAY

__all__ = ["main"]

if TYPE_CHECKING:
    _Actions = argparse._SubParsersAction[argparse.ArgumentParser]

_ENV_BUILD = (
    "Imports each DAG file and builds, in the foreground, the managed environment of each of its virtualenv tasks that "
    "keeps one (virtualenv_dir). What is ready stays as it is. Exit code 1: a file cannot be imported, an environment "
    "cannot be built, or is known only when its task runs (virtualenv_dir is a template, or mapped), or no file makes "
    "a DAG. A file without DAG beside others that make some is only mentioned, so that dags/*.py may be given; tasks "
    "that keep no environment are no failure."
)
_ENV_LIST = "Lists every build of a virtualenv_dir: ready, old, building, left over or failed. Writes nothing."
_ENV_INSPECT = "Tells all of an environment: what is installed, of what it was made, by whom, when. Writes nothing."
_ENV_VERIFY = (
    "Holds finished environments against their records: every file is there with its size, the same versions are "
    "installed, the interpreter is there and of the same version. Writes nothing. Exit code 1: something differs."
)
_ENV_PRUNE = (
    "Removes what nobody can find any more, then the environments that were used longest ago, until the limits are "
    "kept; never one in use. A limit that is not given is the one of Airflow's configuration ([cosmos_venv] "
    "virtualenv_prune_...); 0 is no limit. With --digest it removes that one environment and nothing else. Exit "
    "code 1: this user may not remove something that is to go, or the environment that was named is in use."
)
_RENDER = (
    "Shows the tasks, groups and edges that a dbt project becomes: as a tree, as JSON, as a Mermaid or DOT diagram. A "
    "DAG file is imported as Airflow does and shows its DbtDag or DbtTaskGroup as it is configured; the folder of a "
    "project (with a target/manifest.json) or a manifest is rendered with the defaults and the options here. No task "
    "runs; a DAG file that loads with dbt ls runs that. Exit code 1: the file cannot be imported or read, has no dbt "
    "project or several, the selection is refused, or the output cannot be written."
)
_SEEDS_LIST = (
    "Lists what a DAG remembers of its seeds with SeedRenderingBehavior.WHEN_SEED_CHANGES: the content that was loaded "
    "last, by which run. Reads Airflow's database; changes nothing. Exit code 1: it cannot be reached."
)
_SEEDS_FORGET = (
    "Forgets what a DAG remembers of its seeds, or of one, so that the next run loads them: after a table was dropped, "
    "for example. Exit code 1: nothing was remembered of the seed that was named, or the database cannot be reached."
)
_DOCTOR = (
    "Looks for what goes wrong without a word: a DAG file that Airflow passes over, because the words airflow and dag "
    "do not occur in it. Nothing is imported or changed. Exit code 1: something was found."
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
    _add_build(actions)
    _add_looks(actions)
    _add_prune(actions)
    _add_render(subjects)
    _add_seeds(subjects)
    _add_doctor(subjects)
    return parser


def _add_build(actions: _Actions) -> None:
    build = _action(actions, "build", "build the environments that the tasks of DAG files need", _ENV_BUILD)
    build.add_argument("dagfiles", nargs="+", type=_existing_file, metavar="DAGFILE", help="a Python file with DAGs")
    build.add_argument(
        "--dir",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="build there, whatever virtualenv_dir says: a directory of an image, for [cosmos_venv] "
        "virtualenv_search_path",
    )
    build.set_defaults(run=lambda options: env_build(options.dagfiles, directory=options.dir, as_json=options.json))


def _add_looks(actions: _Actions) -> None:
    listing = _action(actions, "list", "list what stands in a directory", _ENV_LIST)
    _add_directory(listing)
    listing.set_defaults(run=lambda options: env_list(options.directory, as_json=options.json))
    inspect = _action(actions, "inspect", "tell all that is known of an environment", _ENV_INSPECT)
    _add_directory(inspect)
    inspect.add_argument("digest", metavar="DIGEST", help="its first characters, or DIGEST-GENERATION")
    inspect.set_defaults(run=lambda options: env_inspect(options.directory, options.digest, as_json=options.json))
    verify = _action(actions, "verify", "hold environments against their records", _ENV_VERIFY)
    _add_directory(verify)
    verify.add_argument("digest", metavar="DIGEST", nargs="?", help="only this one; as for inspect")
    verify.set_defaults(run=lambda options: env_verify(options.directory, options.digest, as_json=options.json))


def _add_prune(actions: _Actions) -> None:
    prune = _action(actions, "prune", "remove what a directory holds beyond its limits", _ENV_PRUNE)
    _add_directory(prune)
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    prune.add_argument(
        "--digest", help="remove this environment, whatever its age; its first characters, as for inspect"
    )
    prune.add_argument("--max-age-days", type=_limit, metavar="DAYS", help="days since the last use")
    prune.add_argument("--max-count", type=_limit, metavar="N", help="environments to keep")
    prune.add_argument("--max-bytes", type=_limit, metavar="BYTES", help="bytes on disk to keep")
    prune.add_argument(
        "--min-age", type=_limit, metavar="SECONDS", help="what was used within as many seconds stays in any case"
    )
    prune.set_defaults(run=lambda options: _run_prune(prune, options))


def _add_render(subjects: _Actions) -> None:
    parser = _subject(subjects, "render", "show the plan of a DAG file or a dbt project", _RENDER)
    parser.add_argument(
        "target", type=Path, metavar="DAGFILE|PROJECT", help="a DAG file, a project's folder, a manifest"
    )
    parser.add_argument("--format", choices=FORMATS, default="tree", help="tree unless given")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there, not to standard output")
    of_file = parser.add_argument_group("where a DAG file has several")
    of_file.add_argument("--dag-id", metavar="ID", help="the DAG that is meant")
    of_file.add_argument("--group", metavar="ID", help="the DbtTaskGroup that is meant, with the groups around it")
    of_project = parser.add_argument_group("for a project")
    for name in ("--select", "--exclude"):
        of_project.add_argument(name, nargs="+", action="extend", default=[], metavar="ITEM", help="as dbt takes it")
    of_project.add_argument("--selector", metavar="NAME", help="a YAML selector of the manifest")
    of_project.add_argument("--test-behavior", choices=TEST_BEHAVIORS, help="after_each unless given")
    parser.set_defaults(run=lambda options: _run_render(parser, options))


def _run_render(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    asked = Options(
        select=options.select, exclude=options.exclude, selector=options.selector, test_behavior=options.test_behavior
    )
    if is_project(options.target):
        if options.dag_id or options.group:
            parser.error(f"{options.target} is a project: --dag-id and --group say which one of a DAG file is meant")
    elif asked.given:
        parser.error(f"{options.target} is a DAG file, and its RenderConfig says what {asked.given[0]} would")
    return render(
        options.target,
        asked,
        dag_id=options.dag_id,
        group_id=options.group,
        form=options.format,
        output=options.output,
    )


def _add_seeds(subjects: _Actions) -> None:
    seeds = subjects.add_parser("seeds", help="what DAGs remember of their seeds", formatter_class=RichHelpFormatter)
    actions = seeds.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = _action(actions, "list", "list what a DAG remembers", _SEEDS_LIST)
    forget = _action(actions, "forget", "have the next run load seeds", _SEEDS_FORGET)
    for action in (listing, forget):
        action.add_argument("dag_id", metavar="DAG", help="id of a DAG")
    forget.add_argument("seed", metavar="SEED", nargs="?", help="only this one: its name, or dbt's unique id")
    listing.set_defaults(run=lambda options: seeds_list(options.dag_id, as_json=options.json))
    forget.set_defaults(run=lambda options: seeds_forget(options.dag_id, options.seed, as_json=options.json))


def _add_doctor(subjects: _Actions) -> None:
    parser = _action(subjects, "doctor", "look for what goes wrong without a word", _DOCTOR)
    parser.add_argument("dagfiles", nargs="+", type=_existing_file, metavar="DAGFILE", help="a Python file with DAGs")
    parser.set_defaults(run=lambda options: doctor(options.dagfiles, as_json=options.json))


def _run_prune(prune: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    days = options.max_age_days
    limits = (days, options.max_count, options.max_bytes, options.min_age)
    if options.digest is not None and any(limit is not None for limit in limits):
        prune.error("--digest removes one environment whatever the limits say: leave them out")
    return env_prune(
        options.directory,
        digest=options.digest,
        dry_run=options.dry_run,
        as_json=options.json,
        max_age=None if days is None else days * DAY,
        max_count=options.max_count,
        max_bytes=options.max_bytes,
        min_age=options.min_age,
    )


def _action(actions: _Actions, name: str, what: str, description: str) -> argparse.ArgumentParser:
    parser = _subject(actions, name, what, description)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _subject(actions: _Actions, name: str, what: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=what, description=description, formatter_class=RichHelpFormatter
    )
    return parser


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="a virtualenv_dir")


def _limit(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return path.resolve()
