"""Is a credential found in every way in which addresses are written, and nothing else taken for one?"""

from __future__ import annotations

import pytest

from cosmos_venv.environments import credentials


@pytest.mark.parametrize(
    ("text", "user_info", "shown"),
    [
        ("https://user:s3cret@host/simple", "user:s3cret", "https://****@host/simple"),
        ("https://token@host/simple", "token", "https://****@host/simple"),
        ("https://user:s3cr@t@host/simple", "user:s3cr@t", "https://****@host/simple"),
        ("https://user:it's@host", "user:it's", "https://****@host"),
        ('https://user:a"b<c>@host', 'user:a"b<c>', "https://****@host"),
        ("--proxy=user:s3cret@proxy:8080", "user:s3cret", "--proxy=****@proxy:8080"),
        ("user:s3cret@proxy:8080", "user:s3cret", "****@proxy:8080"),
        ("git+ssh://git@host/shop.git@main", "git", "git+ssh://****@host/shop.git@main"),
    ],
)
def test_user_and_password_are_found_and_masked(text: str, user_info: str, shown: str) -> None:
    assert credentials.found_in(text) == [user_info]
    assert credentials.mask(text) == shown
    assert credentials.remove(text) == shown.replace("****@", "")
    assert credentials.replace_each(text, {user_info: "${USER}"}) == shown.replace("****", "${USER}")


@pytest.mark.parametrize(
    "text",
    ["https://host/simple", "hello @ https://host/hello.whl", "pkg @ file:///x@y/pkg", "12:30:01 me@host", "a@b", ""],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert credentials.found_in(text) == []
    assert credentials.mask(text) == text
