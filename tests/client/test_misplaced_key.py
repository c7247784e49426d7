"""A key that was pasted into the wrong field of a connection is not shown, in any spelling."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from servers import KEY, status

from airflow_provider_polyteia.client.config import from_connection
from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

OTHER_KEY = "pak_7Hq2xWv9Lm4Zt0Rc8Yb3"  # made up
FORMLESS_KEY = "x7Hq2xWv9/Lm4Zt0+Rc8Yb3=="  # made up
STRANGE_KEY = "k%2F\"<&'+/=SECRET-0123456789"  # made up
NAMES = [
    *("verify", "cert", "ui_url", "organization_id", "organization_slug", "api", "timeout", "max_attempts"),
    *("max_wait", "max_elapsed", "max_response_mib", "allow_http", "proxies", "time_out", "extra__polyteia__verify"),
]
SPELLINGS = {
    "plain": lambda key: key,
    "in a text": lambda key: f"the key is {key}!",
    "with whitespace around it": lambda key: f" {key}\n",
    "wrapped": lambda key: f"{key[:9]}\r\n  {key[9:]}",
    "quoted in print": lambda key: f"\u201e{key}\u201c",
    "quoted": lambda key: f'"{key}"',
    "as JSON": lambda key: json.dumps({"key": key}),
    "as repr": repr,
    "percent-encoded": lambda key: quote(key, safe=""),
    "percent-encoded twice": lambda key: quote(quote(key, safe=""), safe=""),
    "percent-encoded completely": lambda key: "".join(f"%{byte:02x}" for byte in key.encode()),
    "bearer": lambda key: f"Bearer {key}",
    "base64": lambda key: b64encode(key.encode()).decode(),
    "base64 of bearer": lambda key: b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a user": lambda key: f"Basic {b64encode(f':{key}'.encode()).decode()}",
    "base64 for URLs": lambda key: urlsafe_b64encode(f"user:{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "upper case": str.upper,
    "in a URL": lambda key: f"https://user:{quote(key, safe='')}@app.polyteia.com/{{dataset_id}}",
    "as a path": lambda key: f"/etc/ssl/{key}.pem",
    "in a list": lambda key: [key, key],
    "in an object": lambda key: {"https": {"a": [f"http://{key}:1"]}},
    "as a name": lambda key: {key: "http://proxy.example"},
}


def shown(**parts):
    """Return everything that the exception for a connection shows."""
    with pytest.raises(PolyteiaConfigurationError) as caught:
        from_connection("city", **{"password": KEY, **parts})
    return f"{caught.value!r} {caught.value} {caught.value.__dict__} {caught.value.__cause__!r}"


def parts_of(text, length=8):
    return {text[start : start + length].lower() for start in range(len(text) - length + 1)}


@pytest.mark.parametrize("key", [KEY, STRANGE_KEY], ids=["key", "strange key"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", NAMES)
def test_key_in_an_extra(name, spelling, key):
    """The exception names the extra, and shows no part of the key or of its spelling."""
    value = SPELLINGS[spelling](key)
    text = shown(password=key, extra={name: value})
    assert name.removeprefix("extra__polyteia__") in text
    assert "has a key in" in text or "unknown extra" in text
    hidden = parts_of(key) | (parts_of(value) if isinstance(value, str) and spelling.startswith("base64") else set())
    assert not [part for part in hidden if part in text.lower()]


@pytest.mark.parametrize("spelling", ["plain", "wrapped", "quoted", "percent-encoded", "bearer", "base64 of bearer"])
def test_key_as_the_name_of_an_extra(spelling):
    """The name of an unknown extra may be the key as well."""
    assert not [part for part in parts_of(KEY) if part in shown(extra={SPELLINGS[spelling](KEY): 1}).lower()]


@pytest.mark.parametrize(
    "host", [KEY, KEY.upper(), f"https://{KEY}/", f"https://{KEY}.polyteia.com", f"{KEY}:443", OTHER_KEY]
)
def test_key_in_host(host):
    """A key in Host would be looked up in the DNS, and would be in every exception."""
    text = shown(host=host).lower()
    assert "host" in text
    assert not [part for part in parts_of(KEY) | parts_of(OTHER_KEY) if part in text]


@pytest.mark.parametrize("key", [OTHER_KEY, FORMLESS_KEY, f"Bearer {OTHER_KEY}", quote(f'"{OTHER_KEY}"')])
@pytest.mark.parametrize("password", ["org_d2k7m0p4c5v1s8h3q9t0", "", None])
@pytest.mark.parametrize("name", [*NAMES, "a new extra"])
def test_another_key(name, password, key):
    """Fields that were mixed up: the key is elsewhere, and the password is something else."""
    try:
        text = f"{from_connection('city', password=password, extra={name: key})}"
    except PolyteiaConfigurationError as error:
        text = f"{error!r} {error}"
    else:  # only the platform knows that it is not an organization; see `test_unknown_organization`
        assert (name, key) == ("organization_id", FORMLESS_KEY)
        return
    assert not [part for part in parts_of(OTHER_KEY) | parts_of(FORMLESS_KEY) if part in text.lower()]


@pytest.mark.parametrize("password", [KEY, "", None])
@pytest.mark.parametrize("key", [OTHER_KEY, FORMLESS_KEY])
def test_another_key_as_the_name_of_an_extra(password, key):
    """A name that may be a key is not shown."""
    assert not [part for part in parts_of(key) if part in shown(password=password, extra={key: 1}).lower()]


@pytest.mark.parametrize("name", ["verify", "cert"])
@pytest.mark.parametrize(
    "value", [f"/{OTHER_KEY}", f"/certs/{FORMLESS_KEY}", f"{FORMLESS_KEY}.pem", f"./{OTHER_KEY}.pem"]
)
def test_another_key_in_a_path(name, value):
    """A path is shown only if no part of it can be a key."""
    text = shown(extra={name: value}).lower()
    assert not [part for part in parts_of(OTHER_KEY) | parts_of(FORMLESS_KEY) if part in text]


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("organization_id", {"api": "command"}),
        ("organization_id", {"api": "rpc"}),
        ("organization_slug", {"api": "rpc"}),
    ],
)
def test_unknown_organization(connect, server, name, extra):
    """The platform does not know an organization that is a key, which is not shown either."""
    connect(host=server.url, extra={**extra, name: FORMLESS_KEY})
    body = {"command": b'{"code": 404, "message": "not found"}', "rpc": b'{"json": {"code": "NOT_FOUND"}}'}
    server.respond(status(404, body[extra["api"]]))
    with PolyteiaHook() as hook, pytest.raises(PolyteiaConfigurationError, match=f"its extra '{name}'") as caught:
        hook.get_dataset("ds_1")
    assert not [part for part in parts_of(FORMLESS_KEY) if part in str(caught.value).lower()]


@pytest.mark.parametrize("spelling", sorted(set(SPELLINGS) - {"upper case", "percent-encoded twice"}))
@pytest.mark.parametrize("key", [KEY, STRANGE_KEY], ids=["key", "strange key"])
def test_key_that_a_response_repeats(spelling, key):
    """A gateway may repeat the header with the key in any of these ways."""
    spell = SPELLINGS[spelling]
    credentials = Credentials(from_connection("city", password=key))
    text = json.dumps(credentials.redact(["before", spell(key), "after"]))
    assert text.startswith('["before", ')
    assert text.endswith(', "after"]')
    assert "***" in text
    similar = key[0] + "?" * (len(key) - 2) + key[-1]
    assert not [
        part for part in parts_of(str(spell(key)), 6) - parts_of(str(spell(similar)), 6) if part in text.lower()
    ]


def test_what_is_accepted(connect, server, tmp_path):
    """Values that only resemble a key are used as they are."""
    bundle = tmp_path / "polyteia-root-ca-2026.pem"
    bundle.write_text("")
    extra = {
        "organization_slug": "pak_stadt_musterhausen",
        "verify": str(bundle),
        "ui_url": "https://app.polyteia.com/datasets/{dataset_id}",
        "proxies": {"https": "http://user:0123456789abcdef0123@proxy.example:3128"},
    }
    config = from_connection("city", password=KEY, extra={"api": "rpc", **extra})
    assert {name: getattr(config, name) for name in extra} == extra


@pytest.mark.parametrize("password", ["k", "true", "org_1", "443"])
def test_short_password(password):
    """A short password may occur in any word; it is rejected only where nothing else stands."""
    extra = {"timeout": 44, "organization_id": "org_12", "ui_url": "https://k.example/true/443/{dataset_id}"}
    assert from_connection("city", password=password, extra=extra).organization_id == "org_12"
    with pytest.raises(PolyteiaConfigurationError, match="has a key in the extra 'organization_id'"):
        from_connection("city", password=password, extra={"organization_id": password})


@pytest.mark.parametrize("value", ["/nowhere/ca.pem", "~/ca.crt", "./ca", "certs/city-ca.pem"])
def test_path_that_does_not_exist(value):
    """A path that cannot be a key is shown, because that helps."""
    with pytest.raises(PolyteiaConfigurationError, match=f"to '{value}', which does not exist"):
        from_connection("city", password=KEY, extra={"verify": value})
