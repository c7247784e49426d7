"""A connection is checked before anything is sent; each text says what, where and what to do, never the key."""

from __future__ import annotations

import pytest
from servers import KEY

from airflow_provider_polyteia.client.config import Limits, from_connection
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError


def build(**parts):
    return from_connection("city", **{"password": KEY, **parts})


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (None, None, "https://app.polyteia.com"),
        ("", None, "https://app.polyteia.com"),
        (None, 8443, "https://app.polyteia.com:8443"),
        ("app.polyteia.com", None, "https://app.polyteia.com"),
        ("https://app.polyteia.com", None, "https://app.polyteia.com"),
        ("https://app.polyteia.com/", None, "https://app.polyteia.com"),
        ("https://app.polyteia.com/api", None, "https://app.polyteia.com"),
        ("https://app.polyteia.com/api/", 443, "https://app.polyteia.com:443"),
        ("app.polyteia.com:8443", None, "https://app.polyteia.com:8443"),
        ("app.polyteia.com:8443", 8443, "https://app.polyteia.com:8443"),
        ("http://127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("http://localhost:8080", None, "http://localhost:8080"),
        ("http://[::1]:8080", None, "http://[::1]:8080"),
        ("APP.Polyteia.COM", None, "https://app.polyteia.com"),
        ("daten.münchen.example", None, "https://daten.xn--mnchen-3ya.example"),
    ],
)
def test_base_url(host, port, expected):
    """Host and port make the base URL; a bare host means https."""
    assert build(host=host, port=port).base_url == expected


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("ht tp://x", "malformed Host"),
        ("app.polyteia.com\n", "malformed Host"),
        ("ftp://app.polyteia.com", "malformed Host"),
        ("https://", "malformed Host"),
        ("https://app..polyteia.com", "malformed Host"),
        ("https://app.polyteia.com:port", "malformed Host"),
        ("https://[::1", "malformed Host"),
        ("app.polyteia.com/workspaces/1", "more than a host"),
        ("https://app.polyteia.com/?q=1", "more than a host"),
        (f"https://me:{KEY}@app.polyteia.com", "user or password in its Host"),
        ("http://app.polyteia.com", "unencrypted.*https://"),
        ("http://127.0.0.1.example.com", "unencrypted"),
    ],
)
def test_bad_host(host, problem):
    """A host that cannot be meant so is refused with an example of how to write it."""
    with pytest.raises(PolyteiaConfigurationError, match=f"Connection 'city' .*{problem}"):
        build(host=host)


def test_http_to_a_foreign_host_needs_consent():
    """http:// to another machine is possible only with allow_http."""
    assert build(host="http://intern.example", extra={"allow_http": True}).base_url == "http://intern.example"


@pytest.mark.parametrize("port", [70000, -1])
def test_impossible_port(port):
    """A port that cannot be is refused."""
    with pytest.raises(PolyteiaConfigurationError, match="has the Port"):
        build(port=port)


def test_two_ports():
    """Two different ports are refused."""
    with pytest.raises(PolyteiaConfigurationError, match="two ports, 1 in its Host and 2 in its Port"):
        build(host="app.polyteia.com:1", port=2)


@pytest.mark.parametrize("password", [None, ""])
def test_empty_password(password):
    """An empty password says where a key comes from and where it goes."""
    with pytest.raises(
        PolyteiaConfigurationError, match=r"'Personal access key' \(password\) is empty.*Personal Access Keys.*'city'"
    ):
        build(password=password)


@pytest.mark.parametrize("password", [f"{KEY}\n", f" {KEY}", f"{KEY} ", f"\t{KEY}"])
def test_key_with_blanks_around_it(password):
    """Whitespace around the key is named as such."""
    with pytest.raises(PolyteiaConfigurationError, match="blanks or a line break before or after the key in its field"):
        build(password=password)


@pytest.mark.parametrize("character", ["\n", " ", "ä", "\x00", "\x7f", "\r\nX-Evil: 1"])
def test_key_with_impossible_characters(character):
    """A key with a character that cannot be sent is refused, and not shown."""
    with pytest.raises(PolyteiaConfigurationError, match="a character in its field 'Personal access key'") as caught:
        build(password=f"pak{character}SECRET")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"timeout": 30}, {"timeout": (30.0, 30.0)}),
        ({"timeout": "30"}, {"timeout": (30.0, 30.0)}),
        ({"timeout": [3, 30]}, {"timeout": (3.0, 30.0)}),
        ({"timeout": None, "verify": ""}, {"timeout": (10.0, 60.0), "verify": True}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "False"}, {"verify": False}),
        ({"verify": "true"}, {"verify": True}),
        ({"organization_id": "org_1"}, {"organization_id": "org_1"}),
        ({"proxies": {"https": "http://p:3128"}}, {"proxies": {"https": "http://p:3128"}}),
        ({"max_attempts": "3", "max_wait": 5}, {"limits": Limits(max_attempts=3, max_wait=5.0)}),
        ({"timeout": "9", "extra__polyteia__timeout": "9"}, {"timeout": (9.0, 9.0)}),  # Test in Airflow 2's form
    ],
)
def test_extras(extra, expected):
    """Extras are taken as JSON, or as the texts that a form stores."""
    config = build(extra=extra)
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"time_out": 3}, "does not know the extra 'time_out'; known are 'allow_http'.*'timeout'"),
        ({"timeout": -1}, r"extra 'timeout' = -1; it takes a number of seconds above 0"),
        ({"timeout": 0}, "above 0"),
        ({"timeout": "soon"}, "above 0"),
        ({"timeout": True}, "above 0"),
        ({"timeout": float("inf")}, "above 0"),
        ({"timeout": 1e10}, "up to a day"),
        ({"max_attempts": "9" * 5000}, "whole number from 1 to 10000"),
        ({"verify": "x" * 5000}, "no such file"),
        ({"organization_id": "org_\ud800"}, "malformed extra 'organization_id'"),
        ({"timeout": 10**400}, "above 0"),
        ({"max_wait": 10**400}, "above 0"),
        ({"timeout": [1, 2, 3]}, r"\[connect, read\]"),
        ({"timeout": [1, -2]}, "above 0"),
        ({"verify": "/nowhere/ca.pem"}, "extra 'verify' = '/nowhere/ca.pem', but there is no such file"),
        ({"verify": 5}, "takes true or false"),
        ({"cert": "/nowhere/cert.pem"}, "no such file"),
        ({"cert": ["a"]}, r"\[certificate, key\]"),
        ({"max_attempts": 0}, "whole number from 1"),
        ({"max_attempts": 1.5}, "whole number from 1"),
        ({"proxies": "http://p"}, "malformed extra 'proxies'"),
        ({"proxies": {"https": "p:3128"}}, "malformed extra 'proxies'"),
        ({"allow_http": "maybe"}, "takes true or false"),
        ({"organization_id": " org_1"}, "malformed extra 'organization_id'"),
    ],
)
def test_bad_extras(extra, problem):
    """A mistyped or impossible extra is an error that says what it takes."""
    with pytest.raises(PolyteiaConfigurationError, match=f"Connection 'city' .*{problem}"):
        build(extra=extra)


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvSECRET\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize("extra", [{"cert": PEM}, {"cert": [__file__, PEM]}, {"verify": PEM}, {"cert": PEM[:20]}])
def test_key_in_place_of_its_path(extra):
    """A certificate or private key that is pasted in place of its path is not repeated."""
    with pytest.raises(PolyteiaConfigurationError, match="a str that is no path") as caught:
        build(extra=extra)
    assert "BEGIN" not in str(caught.value)


def test_limits_of_the_hook_win():
    """Limits given to the hook replace the connection's, and are checked alike."""
    config = build(extra={"max_attempts": 3, "max_wait": 5}).with_limits(max_attempts=7, max_wait=None)
    assert config.limits == Limits(max_attempts=7, max_wait=5.0)
    with pytest.raises(PolyteiaConfigurationError, match="max_attempts"):
        config.with_limits(max_attempts=0)


def test_repr_hides_secrets():
    """Neither the key nor a proxy's password is in the repr."""
    config = build(extra={"proxies": {"https": "http://user:proxySECRET@p:3128"}})
    assert "SECRET" not in repr(config)
