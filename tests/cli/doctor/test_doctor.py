"""Tests of the trials that ``cosmos-venv doctor`` makes, and of the advice that it gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from cosmos_venv.cli.doctor.check_result import CheckResult, Examined
from cosmos_venv.cli.doctor.configuration_check import airflow_is_supported, settings_are_known_and_possible
from cosmos_venv.cli.doctor.dbt_check import sockets_can_be_made
from cosmos_venv.cli.doctor.directory_check import directories_can_hold_environments, temporary_files_can_be_run
from cosmos_venv.cli.doctor.lock_check import compared, locks_lock
from cosmos_venv.cli.doctor.peer_check import Seen
from cosmos_venv.environments.installers.index_check import try_index
from cosmos_venv.environments.spec import Interpreter
from pytest_cosmos_venv import Wheelhouse
from tests.environments.elsewhere import remounted, tmpfs, within
from tests.kit import MakeReady, MakeSpec, StartPython

DEADLINE = 60.0

# Arguments: a host name, then those of cosmos-venv.
ON_A_HOST = """
import socket, sys
socket.sethostname(sys.argv[1])
from cosmos_venv.cli import main
sys.exit(main(sys.argv[2:]))
"""


def outcomes(findings: list[CheckResult]) -> list[str]:
    return [each.outcome for each in findings]


def of_directory(path: Path, *, is_searched: bool = False) -> list[CheckResult]:
    searched = frozenset([path] if is_searched else [])
    return list(directories_can_hold_environments(Examined(directories=(path,), searched=searched)))


def test_a_good_machine_has_exit_code_0_and_one_shape(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--dir", str(tmp_path), "--only", "directory", "--only", "locks", "--json"])

    findings = json.loads(capfd.readouterr().out)["findings"]
    assert code == 0, findings
    assert [each["check"] for each in findings] == ["directory", "directory", "locks"]
    assert {tuple(each) for each in findings} == {("check", "subject", "outcome", "text", "way_out")}
    assert list(tmp_path.iterdir()) == [], "what was made for a trial is removed"


def test_options_that_nobody_reads_and_values_that_are_refused_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    (airflow,) = airflow_is_supported(Examined())
    (before,) = settings_are_known_and_possible(Examined())
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DTB", "auto")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_BUILD", "perhaps")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH", "relative")
    monkeypatch.setenv("AIRFLOW__COSMOS__PROPAGATE_LOGS_CMD", "true")

    unknown, of_cosmos, *refused = settings_are_known_and_possible(Examined())

    assert (airflow.outcome, before.outcome) == ("ok", "ok")
    assert (unknown.subject, unknown.outcome) == ("[cosmos_venv] virtualenv_warm_dtb", "warning")
    assert unknown.way_out == "Did you mean virtualenv_warm_dbt?"
    assert (of_cosmos.subject, of_cosmos.outcome) == ("[cosmos] propagate_logs", "warning")
    assert outcomes(refused) == ["failed", "failed"]
    assert "virtualenv_build = 'perhaps': it can be auto or never" in refused[0].text
    assert "'relative' is relative" in refused[1].text


@pytest.mark.parametrize(
    ("name", "is_searched", "outcome"),
    [
        pytest.param("later", False, "ok", id="not-there-yet"),
        pytest.param("later", True, "warning", id="searched-and-not-there"),
        pytest.param("file", False, "failed", id="a-file"),
        pytest.param("file/below", False, "failed", id="below-a-file"),
    ],
)
def test_a_directory_that_does_not_exist_yet_is_told_apart_from_one_that_cannot_be(
    tmp_path: Path, name: str, is_searched: bool, outcome: str
) -> None:
    (tmp_path / "file").touch()

    assert outcomes(of_directory(tmp_path / name, is_searched=is_searched)) == [outcome]
    assert not (tmp_path / "later").exists()


def test_a_directory_that_others_may_replace_has_failed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    (found,) = of_directory(tmp_path / "missing")

    assert found.outcome == "failed"
    assert f"because of {tmp_path} above it: everybody may write to it" in found.text


@pytest.mark.parametrize(("mode", "outcome"), [(0o777, "warning"), (0o1777, "ok")], ids=["open", "sticky"])
def test_temporary_files_that_others_may_replace_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, outcome: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(mode)

    assert outcomes(list(temporary_files_can_be_run(Examined()))) == [outcome]


def doctor_on_a_mount(mounted_at: Path, options: str, *, is_searched: bool) -> tuple[int, list[tuple[str, str, str]]]:
    """The exit code, and what is said of the mount: check, outcome and text."""
    place = within(setup=f"{tmpfs(mounted_at)}\n{remounted(mounted_at, options)}")
    searched = f"AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH={mounted_at if is_searched else ''}"
    words = [
        "doctor",
        "--only",
        "directory",
        "--only",
        "locks",
        "--json",
        *(() if is_searched else ("--dir", mounted_at)),
    ]
    done = subprocess.run(
        [*place, "env", searched, sys.executable, "-m", "cosmos_venv.cli", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [each for each in json.loads(done.stdout)["findings"] if each["subject"] == str(mounted_at)]
    return done.returncode, [
        (each["check"], each["outcome"], each["text"]) for each in found if "It is mounted read-only" in each["text"]
    ]


@pytest.mark.long
def test_a_read_only_mount_is_right_on_the_search_path_alone_if_programs_can_be_started_there(tmp_path: Path) -> None:
    as_own = doctor_on_a_mount(tmp_path, "ro", is_searched=False)
    searched = doctor_on_a_mount(tmp_path, "ro", is_searched=True)
    unusable = doctor_on_a_mount(tmp_path, "ro,noexec", is_searched=True)

    assert (as_own[0], [each[:2] for each in as_own[1]]) == (0, [("directory", "warning"), ("locks", "warning")])
    assert (searched[0], [each[:2] for each in searched[1]]) == (0, [("directory", "ok")])
    assert (unusable[0], [each[:2] for each in unusable[1]]) == (1, [("directory", "failed")])
    assert "noexec: no dbt there can be started" in unusable[1][0][2]


def test_environments_of_a_python_that_is_not_here_are_a_warning(
    tmp_path: Path, make_ready: MakeReady, make_spec: MakeSpec
) -> None:
    make_ready(tmp_path, make_spec("hello==1.0"))
    record = make_ready(tmp_path, make_spec()).record_file
    record.write_text(record.read_text().replace(Interpreter.of().executable, "/usr/local/bin/python"))

    warning, ok = of_directory(tmp_path, is_searched=True)

    assert outcomes([warning, ok]) == ["warning", "ok"]
    assert warning.text == "1 of 2 environments are made of /usr/local/bin/python, which is not here."


def test_locks_of_one_host_are_tried_by_two_processes(tmp_path: Path) -> None:
    (found,) = locks_lock(Examined(directories=(tmp_path,)))

    assert (found.outcome, found.text) == ("ok", "Two processes of this host see the same locks and links.")
    assert list(tmp_path.iterdir()) == []


def test_locks_that_cannot_be_tried_are_not_passed_over_but_on_the_search_path(tmp_path: Path) -> None:
    missing = tmp_path / "misspelt"

    (found,) = locks_lock(Examined(directories=(missing,)))

    assert (found.outcome, found.text) == ("warning", "There is no such directory, so no lock was tried.")
    assert list(locks_lock(Examined(directories=(missing,), searched=frozenset([missing])))) == []
    assert not missing.exists()


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Two that share a directory, and try it."""

    start_python: StartPython
    directory: Path

    def meet(self, setup: str = "") -> tuple[list[str], list[int]]:
        """The output of both, and their exit codes.

        :param setup: shell commands that each runs before, in a mount namespace of its own.
        """
        place = within("--uts", "--pid", "--fork", "--mount-proc", "--kill-child", setup=setup)
        words = ["doctor", "--dir", self.directory, "--peer", "worker-2", "--wait", int(DEADLINE)]
        first = self.start_python(ON_A_HOST, "worker-1", *words, within=place)
        assert first.stdout is not None
        command = next(line for line in first.stdout if "--join" in line).split()
        assert command[:4] == ["cosmos-venv", "doctor", "--dir", str(self.directory)]
        second = self.start_python(ON_A_HOST, "worker-2", *command[1:], within=place)
        said = [process.communicate(timeout=DEADLINE * 2)[0] for process in (first, second)]
        return said, [first.returncode, second.returncode]


@pytest.fixture
def hosts(start_python: StartPython, tmp_path: Path) -> Hosts:
    """Whose directory is ``shared``."""
    (tmp_path / "shared").mkdir()
    return Hosts(start_python=start_python, directory=tmp_path / "shared")


def test_two_hosts_meet_over_the_mount_alone(hosts: Hosts) -> None:
    said, codes = hosts.meet()

    assert codes == [0, 0], said
    assert all("worker-1 and worker-2 see the same locks and links" in each for each in said), said
    assert list(hosts.directory.iterdir()) == []


@pytest.mark.long
def test_a_mount_that_keeps_locks_to_each_host_has_failed_on_both(hosts: Hosts, tmp_path: Path) -> None:
    """Two overlays of one folder: each has inodes of its own, as NFS with ``nolock`` has locks of its own."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"

    said, codes = hosts.meet(setup=f"mount -t overlay -o {options} overlay {hosts.directory}")

    assert codes == [1, 1], said
    for each in said:
        assert "the lock that one side holds, the other gets too: two would build at once" in each
        assert "an environment that the other side uses could be removed" in each
        assert "mounted without nolock and local_lock" in each


def test_a_peer_that_does_not_come_has_failed_and_nothing_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--dir", str(tmp_path), "--peer", "worker-2", "--wait", "0"])

    printed = capfd.readouterr()
    assert code == 1
    assert "worker-2: The other side has not said 'hello'" in printed.out
    assert "--join" in printed.err
    assert list(tmp_path.iterdir()) == []


def test_who_joins_where_nobody_waits_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--dir", str(tmp_path), "--join", "1a2b", "--json"])

    assert code == 1
    assert "--join 1a2b: nobody waits in" in json.loads(capfd.readouterr().out)["error"]


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        pytest.param({}, ["ok"], "one and two see the same locks", id="good"),
        pytest.param({"skew": 12.0}, ["warning", "ok"], "clocks are 12 s apart", id="clocks"),
        pytest.param({"skew": -90.0}, ["failed", "ok"], "clocks are 90 s apart", id="clocks-far"),
        pytest.param({"lag": 30.0}, ["warning", "ok"], "took 30.0 s", id="lag"),
        pytest.param({"guest": {"host": "three"}}, ["warning", "ok"], "three came, and not two", id="stranger"),
        pytest.param(
            {"guest": {"host": "one", "pid_namespace": "a"}}, ["warning", "ok"], "Both sides ran on one", id="same"
        ),
    ],
)
def test_what_a_meeting_says(changes: dict[str, object], outcome: list[str], words: str) -> None:
    one = {"host": "one", "boot_id": "x", "pid_namespace": "a", "uid": 0}
    two = {**one, "host": "two", "pid_namespace": "b"}
    of_guest = changes.get("guest", {})
    assert isinstance(of_guest, dict)
    seen = Seen(**{"host": one, "lag": 0.1, **changes, "guest": {**two, **of_guest}})  # type: ignore[arg-type]

    found = compared(Path("/mnt"), seen, "two")

    assert outcomes(found) == outcome
    assert words in found[0].text
    assert all(bool(each.way_out) is (each.outcome != "ok") for each in found)


@pytest.mark.parametrize("preference", ["pip", "uv"])
def test_an_index_that_does_not_answer_is_told_without_its_password(preference: str) -> None:
    address = "http://user:s3cret@127.0.0.1:9/simple"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environ = {**kept, "PIP_INDEX_URL": address, "UV_DEFAULT_INDEX": address, "PIP_CONFIG_FILE": "/dev/null"}

    tried = try_index(preference, {**environ, "UV_NO_CONFIG": "1"}, within=DEADLINE)  # type: ignore[arg-type]

    assert tried.problem
    assert tried.hosts == ("127.0.0.1:9",)
    assert "s3cret" not in repr(tried)


def test_an_index_that_has_dbt_is_asked_as_a_build_would_ask(fake_dbt_wheels: Wheelhouse, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environ = {**kept, "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(fake_dbt_wheels.path), "UV_NO_CONFIG": "1"}

    tried = try_index("uv", environ, within=DEADLINE)

    assert (tried.problem, tried.installer) == (None, "uv (uv was asked for)")


@pytest.mark.parametrize(
    ("setting", "choice", "outcome"),
    [
        ("VIRTUALENV_WARM_DBT", "off", "ok"),
        ("VIRTUALENV_WARM_DBT", "auto", "warning"),
        ("LOCAL_WARM_DBT", "require", "failed"),
    ],
)
def test_a_socket_that_cannot_be_made_is_as_grave_as_the_graver_setting_takes_it(
    setting: str, choice: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "off")
    monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{setting}", choice)

    (found,) = sockets_can_be_made(Examined())

    assert found.outcome == outcome
    assert "is too long for a socket" in found.text


def test_a_socket_is_made_and_reached(short_folder: Path) -> None:
    (found,) = sockets_can_be_made(Examined())

    assert (found.outcome, found.subject) == ("ok", str(short_folder / f"cosmos-venv-warm-{os.geteuid()}"))
