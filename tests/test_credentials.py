"""Credentials are found in every way in which addresses are written, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from cosmos_venv import credentials


@pytest.mark.parametrize(
    ("text", "user_info", "shown"),
    [
        ("https://user:s3cret@host/simple", "user:s3cret", "https://****@host/simple"),
        ("https://token@host/simple", "token", "https://****@host/simple"),
        ("git+https://t0ken@host/shop.git@v1", "t0ken", "git+https://****@host/shop.git@v1"),
        ("https://user:s3cr@t@host/simple", "user:s3cr@t", "https://****@host/simple"),
        ("https://user:it's@host", "user:it's", "https://****@host"),
        ('https://user:a"b<c>@host', 'user:a"b<c>', "https://****@host"),
        ("--proxy=user:s3cret@proxy:8080", "user:s3cret", "--proxy=****@proxy:8080"),
        ("user:s3cret@proxy:8080", "user:s3cret", "****@proxy:8080"),
        ("user:s3/cret@proxy:8080", "user:s3/cret", "****@proxy:8080"),
        ("git+ssh://git@host/shop.git@main", "git", "git+ssh://****@host/shop.git@main"),
        ("https://user:s3/cret@host/simple", "user:s3/cret", "https://****@host/simple"),
        ("https://user:s3/c@ret@host.example/simple", "user:s3/c@ret", "https://****@host.example/simple"),
    ],
)
def test_user_and_password_are_found_and_masked(text: str, user_info: str, shown: str) -> None:
    assert credentials.found_in(text) == [user_info]
    assert credentials.mask(text) == shown
    assert credentials.remove(text) == shown.replace("****@", "")


@pytest.mark.parametrize(
    ("text", "shown", "removed"),
    [
        ("https://h/a.whl?token=abcd#sha256=1", "https://h/a.whl?token=****#sha256=1", "https://h/a.whl#sha256=1"),
        ("https://h/a?sig=x&page=2", "https://h/a?sig=****&page=****", "https://h/a?page=2"),
        ("https://h/a?page=2&private_token=x", "https://h/a?page=****&private_token=****", "https://h/a?page=2"),
        (
            "hello @ https://h/a.whl?X-Amz-Date=1&X-Amz-Signature=f&response=x",
            "hello @ https://h/a.whl?X-Amz-Date=****&X-Amz-Signature=****&response=****",
            "hello @ https://h/a.whl?response=x",
        ),
        ("https://h/a?sv=2020&se=1&sig=f", "https://h/a?sv=****&se=****&sig=****", "https://h/a"),
        ("https://h/a?sv=2020", "https://h/a?sv=****", "https://h/a?sv=2020"),
        # It may be all of it a signature, or a page.
        ("https://h/a?c2lnbmF0dXJl#x", "https://h/a?****#x", "https://h/a?c2lnbmF0dXJl#x"),
        ("url: /simple/a?token=abc (Caused by", "url: /simple/a?token=**** (Caused by", "url: /simple/a (Caused by"),
    ],
)
def test_a_query_is_hidden_and_what_proves_who_asks_is_no_part_of_an_address(
    text: str, shown: str, removed: str
) -> None:
    assert credentials.mask(text) == shown
    assert credentials.remove(text) == removed


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("https://user:s3c%2Fret@host", {"user:s3c%2Fret", "s3c%2Fret", "s3c/ret", "user:s3c/ret"}),
        ("https://t0ken@host", {"t0ken"}),
        ("https://host/a?token=abcdef&page=next", {"abcdef"}),
        ("git+ssh://deployer@host/a", set()),
        ("https://u:abc@host", {"u:abc", "u%3Aabc"}),
    ],
)
def test_secrets_are_known_in_every_form_and_short_words_are_none(text: str, secrets: set[str]) -> None:
    found = credentials.secrets_in(text)

    assert secrets <= found
    assert not {"abc", "page", "next", "user", "deployer"} & found


@pytest.mark.parametrize(
    "text",
    [
        "https://host/simple",
        "hello @ https://host/hello.whl",
        "pkg @ file:///x@y/pkg",
        "12:30:01 me@host",
        "a@b",
        "",
        "https://host:8443/x@y",
        "git+https://host:8443/repo.git@v1.2#egg=x",
        "why? a=1",
        "really?",
        "Is it https://host/a?",
        "(https://host/a?) b=c",
        "http://host:/x@y",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert credentials.found_in(text) == []
    assert credentials.mask(text) == text
    assert credentials.remove(text) == text


@pytest.mark.parametrize(
    "address",
    [
        "https://user:12/34@host.example/simple",
        "git+https://git.example.com:8443/shop/pkg.git@1.8.latest",
        "https://host:8080/@scope/pkg@1.x.tgz",
        "git+ssh://git.example.com:2222/shop/pkg.git@1.8.latest",
    ],
)
def test_what_may_be_a_port_and_a_path_is_an_address_and_is_hidden_where_it_may_be_a_password(address: str) -> None:
    """Two repositories behind one port had one digest, and an address was handed to pip without its host."""
    assert credentials.found_in(address) == []
    assert credentials.remove(address) == address
    assert credentials.mask(address).startswith(address.partition("://")[0])


def test_a_password_is_hidden_although_it_could_be_a_port_and_a_path() -> None:
    assert credentials.mask("at https://user:12/34@host.example/simple.") == "at https://****@host.example/simple."


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ab" * 500_000, id="a-blob"),
        pytest.param("http://" * 50_000, id="schemes"),
        pytest.param("http://u:x/" * 50_000 + "@", id="schemes-and-an-at"),
        pytest.param("a=b:" * 100_000 + "@x", id="options"),
        pytest.param("@" * 300_000, id="ats"),
        pytest.param("://" + "?a" * 200_000, id="queries"),
        pytest.param("http://h/?" + "a" * 500_000 + "=", id="a-long-name"),
        pytest.param("http://u:x/" + "@a.b" * 100_000, id="hosts"),
    ],
)
@pytest.mark.timeout(60)
def test_a_blob_is_masked_in_a_time_that_grows_with_its_length_alone(text: str) -> None:
    """A failed task whose database printed a blob stood still for minutes."""
    credentials.mask(text)
    credentials.remove(text)
