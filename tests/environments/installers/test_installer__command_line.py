"""What an installer is told: pip's settings in uv's words, and no credential on a command line."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.installer import InstallArguments, Installer
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError

INSTALLERS = {
    "uv": Installer(name="uv", uv="uv", reason=""),
    "pip": Installer(name="pip", reason=""),
    "airflow": Installer(name="airflow", command=("x",), reason=""),
}
SYSTEM_CERTIFICATES = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}


def arguments_of(
    *requirements: str, given: tuple[str, ...] = (), tool: str = "pip", **variables: str
) -> InstallArguments:
    spec = EnvironmentSpec(requirements=requirements, pip_install_options=given, interpreter=Interpreter.of())
    return InstallArguments.of(spec, INSTALLERS[tool], {"PIP_CONFIG_FILE": "/dev/null", **variables})


@pytest.mark.parametrize(
    ("given", "configured", "words", "variables"),
    [
        pytest.param(
            ("--no-deps", "--pre", "-U", "--require-hashes", "--no-cache-dir", "--no-index"),
            {"PIP_NO_CACHE_DIR": "1", "PIP_QUIET": "2"},
            ("--no-deps", "--prerelease=allow", "--upgrade", "--require-hashes", "--no-cache", "--no-index"),
            SYSTEM_CERTIFICATES,
            id="switches",
        ),
        pytest.param(
            ("--only-binary", ":all:", "--no-binary=a,b", "--cache-dir=/c", "-q"),
            {"PIP_CACHE_DIR": "/of-pip"},
            ("--only-binary=:all:", "--no-binary=a,b", "--cache-dir=/c"),
            SYSTEM_CERTIFICATES,
            id="values",
        ),
        pytest.param(
            ("-i", "https://u:s3cret@a", "--extra-index-url=https://b", "-f", "https://f", "-f", "/nowhere"),
            {"PIP_INDEX_URL": "https://lost", "PIP_EXTRA_INDEX_URL": "https://c", "PIP_TRUSTED_HOST": "a b"},
            (),
            {
                "UV_DEFAULT_INDEX": "https://u:s3cret@a",
                "UV_EXTRA_INDEX_URL": "https://b https://c",
                "UV_FIND_LINKS": "https://f",
                "UV_INSECURE_HOST": "a b",
                **SYSTEM_CERTIFICATES,
            },
            id="places",
        ),
        pytest.param(
            ("--client-cert", "/me.pem"),
            {"PIP_CERT": "/lost.pem", "REQUESTS_CA_BUNDLE": "/ca.pem", "PIP_DEFAULT_TIMEOUT": "7", "PIP_RETRIES": "0"},
            (),
            {
                "SSL_CERT_FILE": "/ca.pem",
                "SSL_CLIENT_CERT": "/me.pem",
                "UV_HTTP_TIMEOUT": "7",
                "UV_HTTP_RETRIES": "0",
            },
            id="ways",
        ),
        pytest.param((), {"PIP_CONSTRAINT": "/c.txt"}, ("--constraint=/c.txt",), SYSTEM_CERTIFICATES, id="constraint"),
    ],
)
def test_uv_is_told_what_pip_is_told(
    given: tuple[str, ...], configured: Mapping[str, str], words: tuple[str, ...], variables: Mapping[str, str]
) -> None:
    arguments = arguments_of("hello", given=given, tool="uv", **configured)

    assert arguments.words == words
    assert arguments.variables == variables
    assert arguments.file_lines == ("hello",)


def test_uvs_own_variable_counts_before_what_pip_is_configured_with_and_an_option_before_both() -> None:
    def told(*given: str) -> Mapping[str, str]:
        return arguments_of(
            given=given,
            tool="uv",
            UV_FIND_LINKS="https://for-uv",
            PIP_FIND_LINKS="/for-pip",
            PIP_INDEX_URL="https://for-both",
        ).variables

    assert told() == {
        "UV_DEFAULT_INDEX": "https://for-both",
        "UV_FIND_LINKS": "https://for-uv",
        **SYSTEM_CERTIFICATES,
    }
    assert told("--find-links", "https://given")["UV_FIND_LINKS"] == "https://for-uv,https://given"
    assert told("--index-url", "https://given")["UV_DEFAULT_INDEX"] == "https://given"


def test_a_proxy_without_a_scheme_is_one_for_uv_too() -> None:
    variables = arguments_of(given=("--proxy", "u:s3cret@p:80"), tool="uv").variables

    assert {variables[name] for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")} == {"http://u:s3cret@p:80"}


def test_with_one_hash_each_requirement_needs_one(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("hello==1 --hash=sha256:00\n")

    assert "--require-hashes" in arguments_of(f"-r {tmp_path}/all.txt", tool="uv").words


def test_of_a_lock_file_nothing_but_itself_is_installed(tmp_path: Path) -> None:
    file = tmp_path / "pylock.toml"
    file.touch()
    (tmp_path / "more.txt").touch()

    arguments = arguments_of(
        "hello", f"-r {file}", f"-c {tmp_path}/more.txt", tool="uv", PIP_CONSTRAINT="/c.txt", UV_CONSTRAINT="/d.txt"
    )

    assert arguments.words == ("-r", str(file))
    assert (arguments.file_lines, arguments.variables["UV_CONSTRAINT"]) == ((), "")
    assert arguments.sources == (str(file),)


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_requirements_are_lines_of_a_file_and_files_are_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.txt").touch()

    arguments = arguments_of(
        "hello",
        "-e ./own",
        "./my own",
        "./pkg[x]",
        given=("--no-deps", "-r", "more.txt", "-c", "https://u:s3cret@c/c.txt"),
        tool=tool,
    )

    assert arguments.words == ("--no-deps", "-r", "more.txt", "./my own")
    assert arguments.file_lines == (
        "--constraint https://u:s3cret@c/c.txt",
        "hello",
        f"{tmp_path}/pkg[x]",
        f"--editable {tmp_path}/own",
    )


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        pytest.param("pip", {}, id="pip"),
        pytest.param(
            "airflow",
            {
                "UV_EXTRA_INDEX_URL": "https://b https://u:s3cret@a https://configured",
                "UV_HTTP_TIMEOUT": "7",
                **SYSTEM_CERTIFICATES,
            },
            id="nobody-knows-which",
        ),
    ],
)
def test_pip_is_told_addresses_by_variables_beside_those_that_it_is_configured_with(
    tool: str, expected: Mapping[str, str]
) -> None:
    given = ("--extra-index-url", "https://u:s3cret@a", "--prefer-binary", "--extra-index-url=https://b")

    configured = {"PIP_EXTRA_INDEX_URL": "https://configured", "PIP_TIMEOUT": "7", "PIP_TARGET": "/lost"}
    arguments = arguments_of("hello", given=given, tool=tool, **configured)

    assert arguments.words == ("--prefer-binary",)
    assert arguments.variables == {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_EXTRA_INDEX_URL": "https://configured https://u:s3cret@a https://b",
        "PIP_TIMEOUT": "7",
        **expected,
    }


def test_with_isolated_what_pip_is_configured_with_is_left_out_and_what_is_given_stays() -> None:
    """With the option pip read no variable: a package of that name from the public index was installed."""
    given = ("--isolated", "--index-url", "https://given")

    arguments = arguments_of("hello", given=given, PIP_INDEX_URL="https://lost", PIP_PRE="1")

    assert arguments.words == ()
    assert arguments.variables == {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "https://given"}


def test_what_could_only_stand_on_a_command_line_is_refused() -> None:
    words = "pip_install_options: .*holds a credential, which would stand on"

    with pytest.raises(CosmosValueError, match=words) as raised:
        arguments_of("hello", given=("-C", "from=https://u:s3cret@a"))

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        pytest.param("https://u:s3cret@host/hello.whl", "s3cret", id="user-and-password"),
        pytest.param("https://host/hello.whl?token=s3cret", "s3cret", id="query"),
        pytest.param("https://u:s3/cret@host.example/hello.whl", "s3/cret", id="unescaped"),
    ],
)
@pytest.mark.parametrize("how", ["hello @ {}", "{}", "-r {}", "-c {}"])
def test_a_requirement_is_on_no_command_line_whatever_stands_in_its_address(
    address: str, secret: str, how: str
) -> None:
    arguments = arguments_of(how.format(address))

    assert arguments.words == ()
    assert address in arguments.file_lines[0]
    assert secret not in arguments.mask(f"{address} is refused: {secret}")


def test_git_is_logged_in_by_a_header_and_its_address_holds_no_credential() -> None:
    given = ("hello @ git+https://t0ken@host/a/hello.git@v1", "-e git+https://u:p%40ss@host/b.git#egg=b", "plain")

    arguments = arguments_of(*given, GIT_CONFIG_COUNT="1")

    logins = [base64.b64encode(login).decode() for login in (b"t0ken:", b"u:p@ss")]
    assert arguments.file_lines == (
        "hello @ git+https://host/a/hello.git@v1",
        "plain",
        "--editable git+https://host/b.git#egg=b",
    )
    assert {name: value for name, value in arguments.variables.items() if name.startswith("GIT_")} == {
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_1": "http.https://host/a/hello.git.extraHeader",
        "GIT_CONFIG_VALUE_1": f"Authorization: Basic {logins[0]}",
        "GIT_CONFIG_KEY_2": "http.https://host/b.git.extraHeader",
        "GIT_CONFIG_VALUE_2": f"Authorization: Basic {logins[1]}",
    }


def test_output_is_masked_in_whatever_form_a_credential_appears() -> None:
    arguments = arguments_of("hello @ https://u:s3cr%2Ft@host/hello.whl", PIP_INDEX_URL="https://u:of-the-machine@host")

    masked = arguments.mask("s3cr/t refused for https://u:s3cr%2Ft@host and https://other:w0rd@host, of-the-machine")

    assert "s3cr" not in masked
    assert "w0rd" not in masked
    assert "of-the-machine" not in masked


A, B = "https://user:s3cret@a.example:8443/simple?token=t0ken", "https://b.example/simple"


@pytest.mark.parametrize(
    ("tool", "given", "variables", "expected"),
    [
        pytest.param("pip", [], {}, ["the default index"], id="nothing-said"),
        pytest.param("uv", [], {"UV_DEFAULT_INDEX": B, "PIP_INDEX_URL": A}, ["b.example"], id="uvs-own-variable"),
        pytest.param("uv", [], {"UV_DEFAULT_INDEX": B}, ["b.example"], id="as-uv-alone-is-told"),
        pytest.param("pip", ["-i", "https://u:s/cret@c.example/x"], {}, ["c.example"], id="unescaped"),
        pytest.param("pip", ["-i", B], {"PIP_EXTRA_INDEX_URL": A}, ["b.example", "a.example:8443"], id="extra"),
        pytest.param("pip", ["--no-index", "-f", "/wheels"], {"PIP_INDEX_URL": A}, ["/wheels"], id="no-index"),
        pytest.param(
            "uv", [], {"UV_FIND_LINKS": "file:///my%20wheels"}, ["the default index", "/my wheels"], id="find-links"
        ),
        pytest.param("pip", ["-r", "{folder}/wanted.txt"], {}, ["a.example:8443"], id="in-a-file"),
        pytest.param("airflow", [], {"PIP_INDEX_URL": A}, [], id="nobody-knows"),
    ],
)
def test_sources_are_hosts_and_folders(
    tmp_path: Path, tool: str, given: list[str], variables: Mapping[str, str], expected: list[str]
) -> None:
    (tmp_path / "wanted.txt").write_text(f"--index-url {A}\nhello\n")
    words = tuple(word.format(folder=tmp_path) for word in given)

    assert list(arguments_of("hello", given=words, tool=tool, **variables).sources) == expected
