"""Where and who: everything that the client needs to know, validated before anything is sent.

A `ClientConfig` is built from the parts of an Airflow connection. Its repr hides the key.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_BASE_URL = "https://app.polyteia.com"
MAX_SECONDS = 86_400.0
MAX_ATTEMPTS = 10_000
MAX_PORT = 65_535
MAX_PATH = 200
PAGE_IDS = {"dataset_id", "solution_id", "workspace_id", "organization_id"}
# The form of Airflow 2 sends each of its fields a second time under such a name when it tests a connection.
_FORM_PREFIX = "extra__polyteia__"
KEY_ADVICE = "create a new key in Polyteia under Settings -> Personal Access Keys and put it into connection {!r}"


class Limits(NamedTuple):
    """How long one call may go on being repeated.

    :param max_attempts: how often a call is sent at the most, the first time included.
    :param max_wait: the longest single wait between two attempts, in seconds.
    :param max_elapsed: seconds after which no further attempt of the call begins.
    :param max_reported: how often a call is sent at the most when the platform itself reports an internal error.
    """

    max_attempts: int = 5
    max_wait: float = 60.0
    max_elapsed: float = 300.0
    max_reported: int = 3


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """One platform, one key.

    :param base_url: scheme, host and port, without a path.
    :param key: the personal access key (PAK).
    :param conn_id: the Airflow connection it came from, named in every error.
    :param organization_id: exchange the key for this organization's access token first (API reference 2.2).
    :param timeout: seconds to connect, seconds to wait for the next byte of an answer.
    :param verify: check TLS certificates: True, False, or the path of a CA bundle.
    :param cert: client certificate: one PEM file, or certificate and key.
    :param proxies: proxy URL per scheme, as requests takes them.
    :param limits: how long a call may go on being repeated.
    :param ui_url: pattern of the platform's pages, with ``{dataset_id}`` and the like.
    """

    base_url: str
    key: str = field(repr=False)
    conn_id: str = ""
    organization_id: str | None = None
    timeout: tuple[float, float] = (10.0, 60.0)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    ui_url: str | None = None

    def with_limits(self, **changes: float | None) -> ClientConfig:
        """Return a copy in which the limits given (not None) replace the connection's."""
        given = {name: value for name, value in changes.items() if value is not None}
        check = {**_LIMITS, "max_reported": _attempts}
        checked = {name: check[name](name, value, self.conn_id) for name, value in given.items()}
        return replace(self, limits=self.limits._replace(**checked))


def from_connection(
    conn_id: str,
    *,
    host: str | None = None,
    port: int | None = None,
    password: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ClientConfig:
    """Check the parts of an Airflow connection and build the configuration from them.

    :raises PolyteiaConfigurationError: naming the connection, the field and what to do; never the key.
    """
    filled = {name: value for name, value in (extra or {}).items() if value not in (None, "")}
    given = {name.removeprefix(_FORM_PREFIX): value for name, value in filled.items()}
    unknown = sorted(set(given) - set(_EXTRAS))
    if unknown:
        raise _error(conn_id, f"does not know the extra {_quoted(unknown)}; known are {_quoted(sorted(_EXTRAS))}")
    settings = {name: _EXTRAS[name](name, value, conn_id) for name, value in given.items()}
    allow_http = settings.pop("allow_http", False)
    limits = Limits(**{name: settings.pop(name) for name in Limits._fields if name in settings})
    return ClientConfig(
        base_url=_base_url(host, port, conn_id, allow_http=allow_http),
        key=_key(password, conn_id),
        conn_id=conn_id,
        limits=limits,
        **settings,
    )


def _error(conn_id: str, problem: str) -> PolyteiaConfigurationError:
    return PolyteiaConfigurationError(f"Connection {conn_id!r} {problem}.", conn_id=conn_id)


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _key(password: str | None, conn_id: str) -> str:
    advice = KEY_ADVICE.format(conn_id)
    if not password:
        raise _error(conn_id, f"has no key: its field 'Personal access key' (password) is empty; {advice}")
    if password != password.strip():
        raise _error(
            conn_id,
            "has blanks or a line break before or after the key in its field 'Personal access key' (password); "
            "paste the key again without them",
        )
    if not re.fullmatch(r"[\x21-\x7e]+", password):
        raise _error(
            conn_id,
            "has a character in its field 'Personal access key' (password) that no key can hold (a blank, a line "
            f"break or a character outside ASCII); {advice}",
        )
    return password


def _base_url(host: str | None, port: int | None, conn_id: str, *, allow_http: bool) -> str:
    if port is not None and not 0 <= port <= MAX_PORT:
        raise _error(conn_id, f"has the Port {port}; it takes a number up to {MAX_PORT}")
    if not host:
        return f"{DEFAULT_BASE_URL}:{port}" if port else DEFAULT_BASE_URL
    name, scheme, host_port = _host_parts(host, conn_id)
    if host_port == 0:
        raise _error(conn_id, "has the port 0 in its Host; leave it out or name the real one")
    if port and host_port and port != host_port:
        raise _error(conn_id, f"names two ports, {host_port} in its Host and {port} in its Port; keep one")
    if scheme == "http" and not (allow_http or _is_loopback(name)):
        raise _error(
            conn_id,
            "would send the key unencrypted: its Host begins with http://; use https://, "
            'or set the extra "allow_http" to true if you are sure',
        )
    number = port or host_port
    return f"{scheme}://{f'[{name}]' if ':' in name else name}" + (f":{number}" if number else "")


def _host_parts(host: str, conn_id: str) -> tuple[str, str, int | None]:
    advice = f"write it like {DEFAULT_BASE_URL!r} or 'app.polyteia.com'"
    malformed = _error(conn_id, f"has a malformed Host; {advice}")
    if not host.isprintable() or " " in host:
        raise malformed
    try:
        parts = urlsplit(host if "://" in host else f"https://{host}")
        number = parts.port
        name = _ascii_name(parts.hostname or "")
    except ValueError:  # its text would repeat the host, which may hold a password
        raise malformed from None
    if parts.scheme not in ("http", "https") or not name:
        raise malformed
    if parts.username is not None or parts.password is not None:
        raise _error(conn_id, f"has a user or password in its Host; the key belongs into Password, {advice}")
    if parts.path.rstrip("/") not in ("", "/api") or parts.query or parts.fragment:
        raise _error(conn_id, f"has more than a host in its Host (a path, a query or a fragment); {advice}")
    return name, parts.scheme, number


def _ascii_name(hostname: str) -> str:
    """Return the host name as it goes over the wire; raise ValueError if there is no such name."""
    if ":" in hostname:
        return str(ipaddress.IPv6Address(hostname))
    name = hostname.encode("idna").decode("ascii")
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", name) or ".." in name:
        raise ValueError
    return name


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _number(name: str, value: Any, conn_id: str) -> float:
    """Accept what a form may store: a number or its text. Zero, negative and endless are refused."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= MAX_SECONDS:
        raise _error(conn_id, f"has the extra {name!r} = {value!r}; it takes a number of seconds above 0, up to a day")
    return number


def _attempts(name: str, value: Any, conn_id: str) -> int:
    text = str(value)[:10]
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= MAX_ATTEMPTS:
        raise _error(conn_id, f"has the extra {name!r} = {value!r}; it takes a whole number from 1 to {MAX_ATTEMPTS}")
    return number


def _timeout(name: str, value: Any, conn_id: str) -> tuple[float, float]:
    if isinstance(value, list | tuple):
        if len(value) != 2:  # noqa: PLR2004 - connect and read
            raise _error(conn_id, f"has the extra {name!r} = {value!r}; it takes seconds, or [connect, read]")
        connect, read = value
        return _number(name, connect, conn_id), _number(name, read, conn_id)
    return _number(name, value, conn_id), _number(name, value, conn_id)


def _boolean(name: str, value: Any, conn_id: str) -> bool:
    flag = {"true": True, "false": False}.get(str(value).lower())
    if flag is None:
        raise _error(conn_id, f"has the extra {name!r} = {value!r}; it takes true or false")
    return flag


def _verify(name: str, value: Any, conn_id: str) -> bool | str:
    if isinstance(value, str) and value.lower() not in ("true", "false"):
        return _existing_path(name, value, conn_id)
    return _boolean(name, value, conn_id)


def _existing_path(name: str, value: Any, conn_id: str) -> str:
    if not isinstance(value, str) or not os.path.exists(value):  # noqa: PTH110 - Path.exists raises for odd paths
        raise _error(
            conn_id,
            f"has the extra {name!r} = {_path_for_people(value)}, but there is no such file; "
            "it must exist on every machine that runs a worker or triggerer",
        )
    return value


def _path_for_people(value: Any) -> str:
    """Return what stands in place of a path; not if it may be the key itself, pasted by mistake."""
    is_path = isinstance(value, str) and value.isprintable() and len(value) <= MAX_PATH and "-----" not in value
    return repr(value) if is_path else f"a {type(value).__name__} that is no path"


def _cert(name: str, value: Any, conn_id: str) -> str | tuple[str, str]:
    if isinstance(value, list | tuple):
        if len(value) != 2:  # noqa: PLR2004 - certificate and key
            raise _error(conn_id, f"has a malformed extra {name!r}; it takes a path, or [certificate, key]")
        return _existing_path(name, value[0], conn_id), _existing_path(name, value[1], conn_id)
    return _existing_path(name, value, conn_id)


def _proxies(name: str, value: Any, conn_id: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(url, str) and "://" in url for url in value.values()):
        # The value is not shown: a proxy's URL may hold a password.
        raise _error(conn_id, f'has a malformed extra {name!r}; it takes {{"https": "http://proxy.example:3128"}}')
    return dict(value)


def _text(name: str, value: Any, conn_id: str) -> str:
    if not isinstance(value, str) or value != value.strip() or not value.isprintable():
        raise _error(conn_id, f"has a malformed extra {name!r}; it takes a text without blanks around it")
    return value


def _pattern(name: str, value: Any, conn_id: str) -> str:
    """Check a pattern of page addresses: it goes into a link that people click."""
    text = _text(name, value, conn_id)
    try:
        asked = [
            (field, form or conversion) for _, field, form, conversion in Formatter().parse(text) if field is not None
        ]
    except ValueError:  # a brace too many
        asked = [("", "")]
    if not all(field in PAGE_IDS and not form for field, form in asked):
        raise _error(conn_id, f"has the extra {name!r} = {text!r}; in its braces may stand {_quoted(sorted(PAGE_IDS))}")
    if not text.startswith(("https://", "http://")):
        raise _error(conn_id, f"has the extra {name!r} = {text!r}; it must begin with https://")
    return text


_LIMITS: dict[str, Callable[[str, Any, str], Any]] = {
    "max_attempts": _attempts,
    "max_wait": _number,
    "max_elapsed": _number,
}
_EXTRAS: dict[str, Callable[[str, Any, str], Any]] = {
    "timeout": _timeout,
    "verify": _verify,
    "cert": _cert,
    "proxies": _proxies,
    "organization_id": _text,
    "allow_http": _boolean,
    "ui_url": _pattern,
    **_LIMITS,
}
