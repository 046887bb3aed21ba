"""Checks of locks: whether the locks of a mount lock, between two processes here, or on two hosts with ``--peer``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.cli.doctor.directory_check import named, trial_folder, why_no_trial
from cosmos_venv.cli.doctor.peer_check import (
    GUEST,
    HOST,
    NobodyAnswers,
    PeerSession,
    Seen,
    meet_here,
    receive_guest,
    visit,
)
from cosmos_venv.environments.lock_record import FOREIGN_HOST_AGE
from cosmos_venv.exceptions import CosmosValueError

_PATIENCE_HERE = 30.0
_NOTED_SKEW, _LARGEST_SKEW = 5.0, FOREIGN_HOST_AGE / 2
_NOTED_LAG = 5.0
_OTHER_MOUNT = (
    "Use a local disk or NFS 4, mounted without nolock and local_lock. A virtualenv_dir of its own for each host works "
    "in any case."
)


def locks_lock(examined: Examined) -> Iterator[CheckResult]:
    """Yield a result for each directory that was asked for, and for each other one that can be written to.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        reason = why_no_trial(directory) if directory.is_dir() else "There is no such directory"
        if reason:
            if directory not in examined.searched:
                way_out = "Make it, writable for the user of the tasks, and run this again."
                yield _result("locks", directory, "warning", f"{reason}, so no lock was tried.", way_out)
            continue
        try:
            with trial_folder(directory) as folder:
                seen = meet_here(folder, patience=_PATIENCE_HERE)
        except (NobodyAnswers, OSError) as error:
            yield _result("locks", directory, "failed", f"It cannot be tried: {error}", _OTHER_MOUNT)
            continue
        yield from _faults("locks", directory, seen)
        if not seen.faults:
            yield _result("locks", directory, "ok", "Two processes of this host see the same locks and links.")


def open_to_peer(
    directory: Path, peer: str, *, patience: float, invite: Callable[[str], None], token: str
) -> list[CheckResult]:
    """Check a mount together with another host, which is told what to run.

    :param directory: on the mount.
    :param peer: how the other host is to call itself.
    :param patience: seconds that it may take to come.
    :param invite: shows a person the command for the other host.
    :param token: a name that both sides know.
    """
    if not directory.is_dir() or (reason := why_no_trial(directory)):
        raise CosmosValueError(
            f"--peer: nothing can be tried in {directory}"
            + (f". {reason}" if directory.is_dir() else ": there is no such directory")
            + ". Make it, writable for this user."
        )
    try:
        with trial_folder(directory, token) as folder:
            invite(f"cosmos-venv doctor --dir {directory} --join {token}")
            return compared(directory, receive_guest(PeerSession(folder=folder, me=HOST), patience=patience), peer)
    except (NobodyAnswers, OSError) as error:
        return [_result("peer", directory, "failed", f"{peer}: {error}", "Run the command there while this one waits.")]


def join(directory: Path, token: str) -> list[CheckResult]:
    """Check a mount together with the host that has invited this one.

    :param directory: on the mount.
    :param token: the name that the other host has shown.
    :returns: the results, as the other host has them.
    """
    folder = named(directory, token)
    if not folder.is_dir():
        raise CosmosValueError(
            f"--join {token}: nobody waits in {directory}. Either the other side has ended, or this is another "
            "directory than there."
        )
    try:
        return compared(directory, visit(PeerSession(folder=folder, me=GUEST)), None)
    except (NobodyAnswers, OSError) as error:
        return [_result("peer", directory, "failed", str(error), "See what the other side says, and begin anew.")]


def compared(directory: Path, seen: Seen, peer: str | None) -> list[CheckResult]:
    """Return the results of a check that two hosts have made.

    :param directory: on the mount.
    :param seen: what the check has shown.
    :param peer: how the guest should call itself; None: it may be any.
    """
    hosts = f"{seen.host['host']} and {seen.guest['host']}"
    found = [*_faults("peer", directory, seen), *_strangers(directory, seen, peer), *_clocks(directory, seen)]
    if not seen.faults:
        text = f"{hosts} see the same locks and links; a replaced link is seen within {seen.lag:.2f} s."
        found.append(_result("peer", directory, "ok", text))
    return found


def _faults(check: str, directory: Path, seen: Seen) -> Iterator[CheckResult]:
    for fault in seen.faults:
        yield _result(check, directory, "failed", f"The mount will not do: {fault}.", _OTHER_MOUNT)


def _strangers(directory: Path, seen: Seen, peer: str | None) -> Iterator[CheckResult]:
    one, other = seen.host, seen.guest
    names = ("host", "boot_id", "pid_namespace")
    if all(one[name] == other[name] for name in names):
        text = f"Both sides ran on {one['host']}: of two hosts nothing is known."
        yield _result("peer", directory, "warning", text, "Run the other side on the other host.")
    elif peer not in (None, other["host"]):
        text = f"{other['host']} came, and not {peer}."
        yield _result("peer", directory, "warning", text, "See that the command was run where it was meant.")
    if one["uid"] != other["uid"]:
        text = f"The user id is {one['uid']} on {one['host']} and {other['uid']} on {other['host']}."
        way_out = "Run tasks as one user id everywhere: what another one has built is not used."
        yield _result("peer", directory, "warning", text, way_out)


def _clocks(directory: Path, seen: Seen) -> Iterator[CheckResult]:
    skew = max(abs(seen.skew) - seen.skew_known_to, 0.0)
    if skew > _NOTED_SKEW:
        outcome: Outcome = "failed" if skew > _LARGEST_SKEW else "warning"
        text = f"The clocks are {skew:.0f} s apart, and another host's lock counts for {FOREIGN_HOST_AGE:.0f} s."
        yield _result("peer", directory, outcome, text, "Let both hosts keep time (NTP, chrony).")
    if seen.lag > _NOTED_LAG and not seen.faults:
        text = f"It took {seen.lag:.1f} s until one side saw what the other had published."
        way_out = "Mount it with a shorter actimeo: tasks build anew what they do not see yet."
        yield _result("peer", directory, "warning", text, way_out)


def _result(check: str, directory: Path, outcome: Outcome, text: str, way_out: str = "") -> CheckResult:
    way_out = "" if outcome == "ok" else way_out
    return CheckResult(check=check, subject=str(directory), outcome=outcome, text=text, way_out=way_out)
