"""A connection is checked before anything is sent; each exception says what to fix, and never shows the key."""

from __future__ import annotations

import re

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
        ("app.polyteia.com/workspaces/1", "a path, query string or fragment in Host"),
        ("https://app.polyteia.com/?q=1", "a path, query string or fragment in Host"),
        (f"https://me:{KEY}@app.polyteia.com", "user name or password in Host"),
        ("http://app.polyteia.com", "in plain text.*https://"),
        ("http://127.0.0.1.example.com", "in plain text"),
    ],
)
def test_bad_host(host, problem):
    """An invalid host is rejected with an example of a valid one."""
    with pytest.raises(PolyteiaConfigurationError, match=f"Connection 'city' .*{problem}"):
        build(host=host)


def test_http_to_another_host_needs_consent():
    """http:// to another machine is possible only with allow_http."""
    assert build(host="http://intern.example", extra={"allow_http": True}).base_url == "http://intern.example"


@pytest.mark.parametrize("port", [70000, -1])
def test_invalid_port(port):
    """A port out of range is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match="invalid port"):
        build(port=port)


def test_two_ports():
    """Two different ports are rejected."""
    with pytest.raises(PolyteiaConfigurationError, match="two different ports: 1 in Host and 2 in Port"):
        build(host="app.polyteia.com:1", port=2)


@pytest.mark.parametrize("password", [None, ""])
def test_empty_password(password):
    """The exception for an empty password says where to create a key and where to enter it."""
    with pytest.raises(
        PolyteiaConfigurationError, match=r"'Personal access key' \(password\) is empty.*Personal Access Keys.*'city'"
    ):
        build(password=password)


@pytest.mark.parametrize("password", [f"{KEY}\n", f" {KEY}", f"{KEY} ", f"\t{KEY}"])
def test_key_with_whitespace_around_it(password):
    """Whitespace around the key is named as such."""
    with pytest.raises(PolyteiaConfigurationError, match="leading or trailing whitespace in the key"):
        build(password=password)


@pytest.mark.parametrize("character", ["\n", " ", "ä", "\x00", "\x7f", "\r\nX-Evil: 1"])
def test_key_with_invalid_characters(character):
    """A key with a character that cannot be sent is rejected, and not shown."""
    with pytest.raises(
        PolyteiaConfigurationError, match=r"invalid character in the key \(field 'Personal access key'"
    ) as caught:
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
        ({"proxies": {"https": "p:3128"}}, {"proxies": {"https": "p:3128"}}),
        ({"proxies": {"http": "p", "all": "p"}}, {"proxies": {"http": "p", "all": "p"}}),
        ({"proxies": {"no_proxy": ".example"}}, {"proxies": {"no_proxy": ".example"}}),
        ({"max_attempts": "3", "max_wait": 5}, {"limits": Limits(max_attempts=3, max_wait=5.0)}),
        ({"max_response_mib": "256"}, {"max_response_mib": 256, "max_response": 256 * 1024 * 1024}),
        ({"timeout": "9", "extra__polyteia__timeout": "9"}, {"timeout": (9.0, 9.0)}),  # Test in Airflow 2's form
    ],
)
def test_extras(extra, expected):
    """Extras are accepted as JSON, or as the strings that a form stores."""
    config = build(extra=extra)
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"time_out": 3}, "unknown extra 'time_out'. Supported extras: 'allow_http'.*'timeout'"),
        ({"timeout": -1}, r"extra 'timeout' = -1; it must be a number of seconds greater than 0"),
        ({"timeout": 0}, "greater than 0"),
        ({"timeout": "soon"}, "greater than 0"),
        ({"timeout": True}, "greater than 0"),
        ({"timeout": float("inf")}, "greater than 0"),
        ({"timeout": 1e10}, "at most 86400"),
        ({"max_attempts": "9" * 5000}, "an integer between 1 and 10000"),
        ({"verify": "x" * 5000}, "which does not exist"),
        ({"organization_id": "org_\ud800"}, "malformed extra 'organization_id'"),
        ({"timeout": 10**400}, "greater than 0"),
        ({"max_wait": 10**400}, "greater than 0"),
        ({"timeout": [1, 2, 3]}, "a number of seconds, or a list of two"),
        ({"timeout": [1, -2]}, "greater than 0"),
        ({"verify": "/nowhere/ca.pem"}, "the extra 'verify' to '/nowhere/ca.pem', which does not exist"),
        ({"verify": 5}, "must be true or false"),
        ({"cert": "/nowhere/cert.pem"}, "which does not exist"),
        ({"cert": ["a"]}, "a list of certificate and key"),
        ({"max_attempts": 0}, "an integer between 1"),
        ({"max_response_mib": 0.5}, "'max_response_mib' = 0.5; it must be an integer between 1 and 10000"),
        ({"max_attempts": 1.5}, "an integer between 1"),
        ({"proxies": "http://p"}, "malformed extra 'proxies'"),
        ({"proxies": {"https": None}}, "malformed extra 'proxies'"),
        ({"proxies": {"htps": "http://p:3128"}}, "malformed extra 'proxies'"),
        ({"proxies": {"http": "http://p:3128"}}, 'has no proxy for https://app.polyteia.com in its .* \\{"https"'),
        ({"proxies": {"http://x": "http://p:3128", "http": ""}}, "has no proxy for https://app.polyteia.com"),
        ({"allow_http": "maybe"}, "must be true or false"),
        ({"organization_id": " org_1"}, "malformed extra 'organization_id'"),
    ],
)
def test_bad_extras(extra, problem):
    """An unknown or invalid extra raises an exception that says what is allowed.

    `airflow connections test` takes brackets for markup, and does not print them.
    """
    with pytest.raises(PolyteiaConfigurationError, match=f"Connection 'city' .*{problem}") as caught:
        build(extra=extra)
    assert "[" not in str(caught.value)


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvSECRET\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize("extra", [{"cert": PEM}, {"cert": [__file__, PEM]}, {"verify": PEM}, {"cert": PEM[:20]}])
def test_key_in_place_of_its_path(extra):
    """A certificate or private key that is pasted instead of its path is not shown."""
    with pytest.raises(PolyteiaConfigurationError, match="a str that is not a path") as caught:
        build(extra=extra)
    assert "BEGIN" not in str(caught.value)


def test_limits_of_the_hook_take_precedence():
    """Limits passed to the hook replace the connection's, and are checked alike."""
    config = build(extra={"max_attempts": 3, "max_wait": 5}).with_limits(max_attempts=7, max_wait=None)
    assert config.limits == Limits(max_attempts=7, max_wait=5.0)
    with pytest.raises(PolyteiaConfigurationError, match="max_attempts"):
        config.with_limits(max_attempts=0)


def test_repr_hides_secrets():
    """Neither the key nor a proxy's password is in the repr."""
    config = build(extra={"proxies": {"https": "http://user:proxySECRET@p:3128"}})
    assert "SECRET" not in repr(config)


@pytest.mark.parametrize(
    ("host", "api", "expected"),
    [
        (None, None, ("https://app.polyteia.com", "command")),
        (None, "auto", ("https://app.polyteia.com", "command")),
        (None, "command", ("https://app.polyteia.com", "command")),
        (None, "rpc", ("https://web.polyteia.de", "rpc")),
        ("web.polyteia.de", None, ("https://web.polyteia.de", "rpc")),
        ("https://APP.polyteia.com/", "auto", ("https://app.polyteia.com", "command")),
        ("web.polyteia.de", "command", ("https://web.polyteia.de", "command")),
        ("city.example", None, ("https://city.example", "auto")),
    ],
)
def test_api(host, api, expected):
    """The extra decides, else the host if it is known; each API has its own default host."""
    config = build(host=host, extra={"api": api, "organization_id": "org_1"})
    assert (config.base_url, config.api) == expected


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"api": "2"}, "must be one of 'auto', 'command' and 'rpc'"),
        ({"api": ["rpc"]}, "must be one of"),
        ({"api": "rpc"}, "has no organization, which the RPC API requires"),
        ({"api": "rpc", "organization_id": "org_1", "organization_slug": "stadt"}, "remove one of them"),
        ({"api": "command", "organization_slug": "stadt"}, "which only the RPC API supports"),
        ({"api": "rpc", "organization_slug": " stadt"}, "malformed extra 'organization_slug'"),
    ],
)
def test_api_and_organization_that_do_not_fit(extra, text):
    """The exception names the connection and the extra."""
    with pytest.raises(PolyteiaConfigurationError, match=re.escape(text)) as caught:
        build(extra=extra)
    assert "'city'" in str(caught.value)


def test_organization_is_not_required_before_the_api_is_known():
    """For an unknown host, what the API needs is checked once it is known."""
    config = build(host="city.example")
    config.check_organization("command")
    with pytest.raises(PolyteiaConfigurationError, match="has no organization"):
        config.check_organization("rpc")
