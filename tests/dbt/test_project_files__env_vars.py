"""Which variables a file asks for."""

from __future__ import annotations

import pytest

from cosmos_venv.dbt.project_files import env_vars_in

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
    ("file", "text", "line"),
    [
        pytest.param("m.sql", "\n{{ env_var('A' ~ suffix) }}", 2, id="in-a-model"),
        pytest.param("m.sql", "{{ env_var(name) }} {{ env_var('A') }}", 1, id="one-of-two"),
        pytest.param("m.sql", "{% set ask = env_var %}", 1, id="handed-on"),
        pytest.param("m.sql", "{{ context['env_var']('A') }}", 1, id="from-the-context"),
        pytest.param("m.sql", "{{ env_var(a $ b) }}", 1, id="no-jinja"),
        pytest.param("s.yml", "models:\n- meta:\n    a: '{{ env_var(x) }}'", 3, id="in-yaml"),
        pytest.param("s.yml", "a: |\n  one\n  {{ env_var(x) }}", 3, id="in-a-block"),
        pytest.param("s.yml", "a: [}\n{{ env_var(x) }}", 2, id="in-what-is-no-yaml"),
        pytest.param("s.yml", "models: [{description: '{{ env_var(x) }}'}]", 1, id="description"),
        pytest.param("dbt_project.yml", "models: {+meta: {a: '{{ env_var(x) }}'}}", 1, id="in-the-project-file"),
        pytest.param("dbt_project.yml", "on-run-start: ['{{ env_var(x) }}']", 1, id="in-a-hook"),
        pytest.param("selectors.yml", "selectors: ['{{ env_var(x) }}']", 1, id="in-a-selector"),
        pytest.param("profiles.yml", "a: '{{ env_var(x) }}'", 1, id="in-the-profile"),
    ],
)
def test_a_name_that_is_computed_is_told_with_its_line(file: str, text: str, line: int) -> None:
    (found,) = env_vars_in(text.encode(), file).computed

    assert str(found) == f"{file}, line {line}"
