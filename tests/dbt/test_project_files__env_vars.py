"""Which variables a file asks for."""

from __future__ import annotations

import msgspec
import pytest

from cosmos_venv.dbt.project_files import env_vars_in, noted_by_dbt

OURS = "dev:\n  password: '{{ env_var(''A'') }}'\n"


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        pytest.param("m.sql", "select 1", set(), id="none"),
        pytest.param("m.sql", "{{ env_var('A') }} {{ env_var( \"B\", 'x') }}", {"A", "B"}, id="two"),
        pytest.param("m.sql", "{{ env_var ('A') }}", {"A"}, id="a-blank-before-the-bracket"),
        pytest.param("m.sql", "my_env_vars", set(), id="another-word"),
        pytest.param("m.sql", "{# env_var(name) #} -- env_var is read\n{{ env_var('A') }}", {"A"}, id="in-comments"),
        pytest.param("m.sql", "{% raw %}{{ env_var(x) }}{% endraw %}", set(), id="raw"),
        pytest.param("m.sql", "{{ env_var(\n  'A'  ,\n  'x') }} {{ env_var }}"[:30], {"A"}, id="over-lines"),
        pytest.param("m.py", "x = '{{ env_var(y) }}'", set(), id="python-is-not-rendered"),
        pytest.param("profiles.yml", OURS, {"A"}, id="quotes-doubled-as-yaml-wants-it"),
        pytest.param("profiles.yml", 'a: "{{ env_var(\\"A\\") }}"', {"A"}, id="quotes-behind-a-backslash"),
        pytest.param("s.yml", "a: the macro env_var of dbt\n# env_var(x)\nb: 1", set(), id="in-words-and-comments"),
        pytest.param("s.yml", "a: &x ['{{ env_var(''A'') }}']\nb: [*x, *x]", {"A"}, id="an-alias"),
    ],
)
def test_names_that_are_written_out_are_found(file: str, text: str, names: set[str]) -> None:
    found = env_vars_in(text.encode(), file)

    assert found.names == names
    assert found.computed == ()


@pytest.mark.parametrize(
    ("file", "text", "line", "is_noted"),
    [
        pytest.param("m.sql", "\n{{ env_var('A' ~ suffix) }}", 2, True, id="in-a-model"),
        pytest.param("m.sql", "{{ env_var(name) }} {{ env_var('A') }}", 1, True, id="one-of-two"),
        pytest.param("m.sql", "{% set ask = env_var %}", 1, True, id="handed-on"),
        pytest.param("m.sql", "{{ context['env_var']('A') }}", 1, True, id="from-the-context"),
        pytest.param("m.sql", "{{ env_var(a $ b) }}", 1, True, id="no-jinja"),
        pytest.param("s.yml", "models:\n- meta:\n    a: '{{ env_var(x) }}'", 3, True, id="in-yaml"),
        pytest.param("s.yml", "a: |\n  one\n  {{ env_var(x) }}", 3, True, id="in-a-block"),
        pytest.param("s.yml", "a: [}\n{{ env_var(x) }}", 2, True, id="in-what-is-no-yaml"),
        pytest.param("s.yml", "models: [{description: '{{ env_var(x) }}'}]", 1, False, id="description"),
        pytest.param("s.yml", "models: [{columns: [{description: '{{ env_var(x) }}'}]}]", 1, True, id="of-a-column"),
        pytest.param("dbt_project.yml", "models: {+meta: {a: '{{ env_var(x) }}'}}", 1, False, id="in-the-project-file"),
        pytest.param("dbt_project.yml", "on-run-start: ['{{ env_var(x) }}']", 1, True, id="in-a-hook"),
        pytest.param("dbt_project.yml", "models: {a: {+post-hook: '{{ env_var(x) }}'}}", 1, True, id="after-a-model"),
        pytest.param("selectors.yml", "selectors: ['{{ env_var(x) }}']", 1, False, id="in-a-selector"),
        pytest.param("profiles.yml", "a: '{{ env_var(x) }}'", 1, False, id="in-the-profile"),
    ],
)
def test_a_name_that_is_computed_is_told_with_its_line_and_whether_dbt_notes_it(
    file: str, text: str, line: int, is_noted: bool
) -> None:
    (found,) = env_vars_in(text.encode(), file).computed

    assert (str(found), found.is_noted) == (f"{file}, line {line}", is_noted)


def test_what_dbt_has_noted_is_read_from_its_parse_file() -> None:
    content = msgspec.msgpack.encode({"nodes": {"a": {}}, "env_vars": {"A": "1", "B": "__dbt_placeholder__"}})

    assert noted_by_dbt(content) == frozenset({"A", "B"})
    assert noted_by_dbt(content[:-3]) is None
    assert noted_by_dbt(msgspec.msgpack.encode({"nodes": {}})) is None
    assert noted_by_dbt(b"") is None
