"""Classes of users that override the methods of an operator with the parameters that Cosmos gives them."""

# ruff: noqa: ARG002 - methods have the parameters that Cosmos gives them

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.operators import local, virtualenv
from pytest_cosmos_venv import FakeVenv
from tests.kit import MakeOperator, MakeTask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*cannot be called outside")
CONTEXT: dict[str, Any] = {"run_id": "tonight"}


@pytest.mark.parametrize("warm_dbt", ["off", "auto"])
def test_run_subprocess_gets_what_cosmos_gives_it(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, warm_dbt: str
) -> None:
    class Quiet(local.DbtRunLocalOperator):
        def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, context: Any) -> Any:  # type: ignore[override]
            assert context["run_id"] == "tonight"
            assert Path(cwd, "dbt_project.yml").is_file()
            return super().run_subprocess([*command, "--quiet"], {**env, "PIER": "7"}, cwd, context=context)

    make_here(Quiet, warm_dbt=warm_dbt).execute(dict(CONTEXT))

    call = cosmos_fake_venv.calls[-1]
    assert call.arguments[-1] == "--quiet"
    assert call.env["PIER"] == "7"


def test_run_subprocess_of_an_environment_gets_the_same(make_operator: MakeOperator, dbt_calls: Any) -> None:
    class Quiet(virtualenv.DbtRunVirtualenvOperator):
        def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, context: Any) -> Any:  # type: ignore[override]
            return super().run_subprocess([*command, "--quiet"], env, cwd, context=context)

    operator: Any = make_operator()
    operator.__class__ = Quiet
    operator.execute(dict(CONTEXT))

    assert dbt_calls()[-1].arguments[-1] == "--quiet"


def test_a_batch_hears_of_its_nodes_through_a_run_subprocess_of_a_user(make_here: MakeTask) -> None:
    class Quiet(local.DbtBatchLocalOperator):
        def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, context: Any) -> Any:  # type: ignore[override]
            return super().run_subprocess([*command, "--no-write-json"], env, cwd)

    nodes = {"model.harbor.staging": "fqn:harbor.staging"}

    make_here(Quiet, nodes=nodes).execute(dict(CONTEXT))  # without results, only the events say that the node is done


def test_run_dbt_runner_gets_the_same(make_here: MakeTask) -> None:
    seen: dict[str, Any] = {}

    class Elsewhere(local.DbtRunLocalOperator):
        def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, context: Any) -> Any:  # type: ignore[override]
            seen.update(command=command, context=context)
            return SimpleNamespace(success=True, exception=None, result=None)

    make_here(Elsewhere, invocation_mode=InvocationMode.DBT_RUNNER).execute(dict(CONTEXT))

    assert seen["command"][1] == "run"
    assert seen["context"]["run_id"] == "tonight"


class JudgesByCode(local.DbtRunLocalOperator):
    def handle_exception(self, result: Any) -> None:
        super().handle_exception(result) if result.exit_code != 1 else self.log.info("as expected")


class JudgesByProperty(local.DbtRunLocalOperator):
    @property
    def handle_exception(self) -> Any:
        return lambda result: None if result.exit_code == 1 else 1 / 0


class JudgesProcesses(local.DbtRunLocalOperator):
    def handle_exception_subprocess(self, result: Any) -> None:
        if result.exit_code != 1:
            super().handle_exception_subprocess(result)


@pytest.mark.parametrize("cls", [JudgesByCode, JudgesByProperty, JudgesProcesses])
def test_a_class_of_a_user_judges_what_dbt_has_done(cls: Any, make_here: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", exit_code=1)

    make_here(cls).execute(dict(CONTEXT))  # a success, as the class says

    assert cosmos_fake_venv.calls[-1].exit_code == 1


def test_a_class_of_a_user_judges_a_dbt_in_the_worker(make_here: MakeTask) -> None:
    class Lenient(local.DbtRunLocalOperator):
        def run_dbt_runner(self, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(success=False, exception=None, result=None)

        def handle_exception_dbt_runner(self, result: Any) -> None:
            assert result.success is False

    make_here(Lenient, invocation_mode=InvocationMode.DBT_RUNNER).execute(dict(CONTEXT))


def test_a_run_command_of_a_user_may_leave_the_judgement_to_the_operator(make_here: MakeTask) -> None:
    class Remote(local.DbtRunLocalOperator):
        def run_command(  # type: ignore[override]
            self,
            cmd: list[str],
            env: dict[str, str],
            context: Any,
            run_as_async: bool = False,
            async_context: dict[str, Any] | None = None,
            push_run_results_to_xcom: bool = False,
        ) -> Any:
            self.handle_exception(FullOutputSubprocessResult(2, "no such pier", ["no such pier"]))

    with pytest.raises(AirflowException, match=r"exit code 2(.|\n)*no such pier"):
        make_here(Remote).execute(dict(CONTEXT))


def test_build_and_run_cmd_gets_the_flags_of_the_command(make_here: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    class Empty(local.DbtRunLocalOperator):
        def build_and_run_cmd(self, context: Any, cmd_flags: list[str], **kwargs: Any) -> Any:  # type: ignore[override]
            return super().build_and_run_cmd(context=context, cmd_flags=[*cmd_flags, "--empty"], **kwargs)

    make_here(Empty, full_refresh=True).execute(dict(CONTEXT))

    assert {"--full-refresh", "--empty"} <= {*cosmos_fake_venv.calls[-1].arguments}


def test_methods_are_called_by_position_with_all_that_cosmos_has(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv
) -> None:
    class Told(local.DbtRunLocalOperator):
        def build_and_run_cmd(  # type: ignore[override]
            self, context: Any, cmd_flags: Any = None, run_as_async: bool = False, async_context: Any = None
        ) -> Any:
            return super().build_and_run_cmd(context, cmd_flags, run_as_async, async_context)

        def run_command(  # type: ignore[override]
            self, cmd: Any, env: Any, context: Any, run_as_async: bool = False, async_context: Any = None
        ) -> Any:
            return super().run_command(cmd, env, context, run_as_async, async_context)

    make_here(Told, full_refresh=True).execute(dict(CONTEXT))

    assert "--full-refresh" in cosmos_fake_venv.calls[-1].arguments


class Added(local.DbtRunLocalOperator):
    base_cmd = local.DbtRunLocalOperator.base_cmd + ["--empty"]  # noqa: RUF005


class Named(local.DbtLocalBaseOperator):
    base_cmd: ClassVar[list[str]] = ["run", "--empty"]


class Worked(local.DbtLocalBaseOperator):
    @property
    def base_cmd(self) -> list[str]:
        return ["run", "--empty"]


@pytest.mark.parametrize("cls", [Added, Named, Worked])
def test_the_command_of_a_user_is_a_list(cls: Any, make_here: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    make_here(cls).execute(dict(CONTEXT))

    assert cosmos_fake_venv.calls[-1].arguments[:2] == ("run", "--empty")


@pytest.mark.parametrize("base", [local.DbtDocsCloudLocalOperator, local.DbtDocsS3LocalOperator])
def test_own_docs_operators_upload_the_folder_in_which_dbt_ran(base: Any, make_here: MakeTask) -> None:
    uploaded: list[str] = []

    class ToTheHarbour(base):  # type: ignore[misc]
        def upload_to_cloud_storage(self, project_dir: str, **kwargs: Any) -> None:
            assert kwargs["context"]["run_id"] == "tonight"
            uploaded.extend(name for name in self.required_files if Path(project_dir, "target", name).is_file())

    make_here(ToTheHarbour, connection_id="harbour", bucket_name="docs").execute(dict(CONTEXT))

    assert uploaded == ["index.html", "manifest.json", "catalog.json"]


def test_an_own_docs_operator_that_uploads_nowhere_says_what_it_lacks(make_here: MakeTask) -> None:
    class ToNowhere(local.DbtDocsCloudLocalOperator):
        scheme = "harbour"

    with pytest.raises(NotImplementedError, match="ToNowhere has neither upload nor upload_to_cloud_storage"):
        make_here(ToNowhere, connection_id="harbour", bucket_name="docs").execute(dict(CONTEXT))
