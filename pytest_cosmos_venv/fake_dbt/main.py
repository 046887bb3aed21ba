"""The fake ``dbt``: a console script that takes dbt's command line and writes down each call.

It is copied unchanged to ``dbt/cli/main.py``: see the docstring of the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .call import INTERRUPTED, BaseCall, Call
from .command_line import Invocation, UsageError
from .record import RECORD_VARIABLE, Record, record_folder
from .script import Interrupted, Script, ScriptError, read_script


def installed_versions(site_packages: Path) -> dict[str, str]:
    """Return ``core`` and names of adapters -> their versions, read from the ``.dist-info`` folders beside dbt.

    ``importlib.metadata`` would return the same, and double the time of a call.

    :param site_packages: the folder that holds them.
    """
    infos = sorted(path.name for path in site_packages.glob("dbt_*.dist-info"))
    found = dict(name[len("dbt_") : -len(".dist-info")].rsplit("-", 1) for name in infos)
    return {"core": "0.0.0", **found}


def cli() -> None:
    """Run the console script ``dbt``, and end the process as dbt's own entry point does, by SystemExit."""
    answer(installed_versions(Path(__file__).absolute().parents[2]), Invocation, Call)


def answer(installed: dict[str, str], read: type[Invocation], make_call: type[BaseCall]) -> None:
    """Read and record the command line of this process, follow the script, and end the process by SystemExit.

    :param installed: ``core`` and names of adapters -> their versions.
    :param read: the class that reads a command line of this dbt.
    :param make_call: the class of a call of this dbt.
    """
    folder = record_folder()
    if folder is None:
        # In a DAG outside of a test, the fake would report success without any work.
        print(_no_test_message(), file=sys.stderr)
        raise SystemExit(2)
    record = Record(folder)
    invocation: Invocation | None = None
    refusal: UsageError | None = None
    try:
        invocation = read(sys.argv[1:])
        invocation.check_values()
        _ = invocation.command
    except UsageError as error:
        refusal = error
    script = read_script(record, invocation)
    script.watch_signals()
    try:
        record.begin(installed["core"])
        script.start_child()
        if invocation is not None and {"--help", "-h"}.intersection(invocation.options):
            print(f"Usage: dbt {' '.join(invocation.words[:2])} [OPTIONS]")
            exit_code = 0
        elif refusal is not None or invocation is None:
            raise refusal or UsageError("")
        else:
            exit_code = _run(invocation, script, installed, read, make_call)
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        exit_code = error.exit_code
    except ScriptError as error:
        # Recorded for the fixture: the code under test may take any failure for the failure that it expects.
        record.add("misuse", message=str(error))
        print(f"This script for dbt cannot be: {error}", file=sys.stderr)
        exit_code = 2
    except Interrupted:
        exit_code = INTERRUPTED
    record.add("end", exit_code=exit_code)
    raise SystemExit(exit_code)


def _run(
    invocation: Invocation,
    script: Script,
    installed: dict[str, str],
    read: type[Invocation],
    make_call: type[BaseCall],
) -> int:
    if script.recording is None:
        return make_call(invocation, script, installed).run()
    # Only a test that replays pays for this import.
    from .recorded import replay

    exit_code, project = replay(invocation, script, read)
    return make_call(invocation, script, installed, project).run() if exit_code is None else exit_code


def _no_test_message() -> str:
    return (
        f"{sys.prefix} holds a fake of dbt that a test has installed, and no test runs it: it does nothing. If "
        "this is to be a real dbt, delete that environment and let it be installed anew; in a test, hand on the "
        f"variable {RECORD_VARIABLE} (cosmos_dbt.variables)."
    )


# For python -m dbt.cli.main.
if __name__ == "__main__":
    cli()
