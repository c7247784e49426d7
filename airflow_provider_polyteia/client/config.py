"""Client configuration: base URL, key, timeouts, TLS and proxies, validated before anything is sent.

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

from airflow_provider_polyteia.client import redaction
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_BASE_URL = "https://app.polyteia.com"
# The API that is found on a host; another host is asked (docs/platform-api.md#two-apis).
API_OF_HOST = {"app.polyteia.com": "command", "web.polyteia.de": "rpc"}
_DEFAULT_HOSTS = {"command": DEFAULT_BASE_URL, "auto": DEFAULT_BASE_URL, "rpc": "https://web.polyteia.de"}
MAX_SECONDS = 86_400.0
MAX_COUNT = 10_000
MAX_PORT = 65_535
PAGE_IDS = {"dataset_id", "solution_id", "workspace_id", "organization_id"}
# When it tests a connection, the form of Airflow 2 sends each of its fields a second time under such a name.
_PROXY_NAME = re.compile(r"https?|all|no_proxy|(https?|all)://.+")  # as requests looks them up
_FORM_PREFIX = "extra__polyteia__"
KEY_ADVICE = "create a new key in Polyteia under Settings -> Personal Access Keys and put it into connection {!r}"


class Limits(NamedTuple):
    """The limits of the retries of one operation.

    :param max_attempts: maximum number of attempts, including the first. Default: 5.
    :param max_wait: maximum time in seconds between two attempts. Default: 60.
    :param max_elapsed: time in seconds after which no further attempt begins. Default: 300.
    :param max_server_errors: maximum number of attempts when the platform itself reports an internal error. Default: 3.
    """

    max_attempts: int = 5
    max_wait: float = 60.0
    max_elapsed: float = 300.0
    max_server_errors: int = 3


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The validated settings of one connection.

    :param base_url: scheme, host and port, without a path.
    :param key: the personal access key (PAK).
    :param conn_id: id of the Airflow connection, named in every exception. Default: empty.
    :param api: the API of the platform: ``command``, ``rpc``, or ``auto`` where the host must be asked. Default:
        ``auto``.
    :param organization_id: organization for which the key is exchanged (docs/platform-api.md#token-exchange,
        docs/platform-api.md#rpc-sessions). Default: None; on the command API, the key itself is sent.
    :param organization_slug: the same organization by its slug, on the RPC API only. Default: None.
    :param timeout: connect and read timeout in seconds. Default: 10 and 60.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. Default: True.
    :param cert: client certificate: one PEM file, or certificate and key. Default: None.
    :param proxies: proxy URL per scheme, as requests takes them. Default: those of the environment.
    :param limits: limits of the retries.
    :param max_response_mib: maximum size of a response other than a file, in MiB. Default: 64.
    :param ui_url: URL pattern of the platform's pages, with ``{dataset_id}`` and the like. Default: None.
    """

    base_url: str
    key: str = field(repr=False)
    conn_id: str = ""
    api: str = "auto"
    organization_id: str | None = None
    organization_slug: str | None = None
    timeout: tuple[float, float] = (10.0, 60.0)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    max_response_mib: int = 64
    ui_url: str | None = None

    @property
    def max_response(self) -> int:
        """The maximum size of a response other than a file, in bytes."""
        return self.max_response_mib * 1024 * 1024

    def with_limits(self, **changes: float | None) -> ClientConfig:
        """Return a copy in which the given limits (not None) replace the connection's."""
        given = {name: value for name, value in changes.items() if value is not None}
        checks = {**_LIMITS, "max_server_errors": _count}
        checked = {name: checks[name](name, value, self.conn_id) for name, value in given.items()}
        return replace(self, limits=self.limits._replace(**checked))

    def may_serve(self, api: str) -> bool:
        """Return whether the host may serve this API: false if it is known to serve the other one."""
        return API_OF_HOST.get(urlsplit(self.base_url).hostname or "", api) == api

    def check_organization(self, api: str) -> None:
        """Check that the organization is given as an API needs it.

        :raises PolyteiaConfigurationError: naming the extra to set or to remove.
        """
        by_id, by_slug = self.organization_id, self.organization_slug
        if by_id and by_slug:
            raise _error(self.conn_id, "has both extras 'organization_id' and 'organization_slug'; remove one of them")
        if api == "rpc" and not (by_id or by_slug):
            raise _error(
                self.conn_id,
                "has no organization, which the RPC API requires. Set the extra 'organization_id' (such as "
                "org_d2k7m0p4c5v1s8h3q9t0) or 'organization_slug'",
            )
        if api == "command" and by_slug:
            raise _error(
                self.conn_id,
                "has the extra 'organization_slug', which only the RPC API supports; set 'organization_id' instead, or "
                "the extra 'api' to 'rpc'",
            )


def from_connection(
    conn_id: str,
    *,
    host: str | None = None,
    port: int | None = None,
    password: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ClientConfig:
    """Check the parts of an Airflow connection and build the configuration from them.

    :raises PolyteiaConfigurationError: naming the connection, the field and what to do; never the key, even if it was
        pasted into another field.
    """
    filled = {name: value for name, value in (extra or {}).items() if value not in (None, "")}
    given = {name.removeprefix(_FORM_PREFIX): value for name, value in filled.items()}
    unknown = sorted(set(given) - set(_EXTRAS))
    if unknown:
        shown = ", ".join(redaction.show_name(name, password) for name in unknown)
        raise _error(conn_id, f"has an unknown extra {shown}. Supported extras: {_quoted(sorted(_EXTRAS))}")
    for name, value in given.items():
        _check_no_key(conn_id, password, f"the extra {name!r}", value)
    settings = {name: _EXTRAS[name](name, value, conn_id) for name, value in given.items()}
    allow_http, api = settings.pop("allow_http", False), settings.pop("api", "auto")
    limits = Limits(**{name: settings.pop(name) for name in Limits._fields if name in settings})
    base_url = _base_url(host or _DEFAULT_HOSTS[api], port, conn_id, allow_http=allow_http)
    _check_no_key(conn_id, password, "Host", urlsplit(base_url).hostname)
    if api == "auto":
        api = API_OF_HOST.get(urlsplit(base_url).hostname or "", "auto")
    config = ClientConfig(
        base_url=base_url, key=_key(password, conn_id), conn_id=conn_id, api=api, limits=limits, **settings
    )
    config.check_organization(api)
    _check_proxies(config)
    return config


def _error(conn_id: str, problem: str) -> PolyteiaConfigurationError:
    return PolyteiaConfigurationError(f"Connection {conn_id!r} {problem}.", conn_id=conn_id)


def _check_no_key(conn_id: str, password: str | None, where: str, value: Any) -> None:
    """Check that no key was pasted where it may be shown."""
    if redaction.holds_key(value, password):
        raise _error(
            conn_id,
            f"has a key in {where}. Remove it there, and enter it only in the field 'Personal access key' (password)",
        )


def _invalid(conn_id: str, name: str, value: Any, rule: str) -> PolyteiaConfigurationError:
    return _error(conn_id, f"has the extra {name!r} = {redaction.show(value)}; {rule}")


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _key(password: str | None, conn_id: str) -> str:
    advice = KEY_ADVICE.format(conn_id)
    if not password:
        raise _error(conn_id, f"has no key: its field 'Personal access key' (password) is empty; {advice}")
    if password != password.strip():
        raise _error(
            conn_id,
            "has leading or trailing whitespace in the key (field 'Personal access key', password). Paste the key "
            "again without it",
        )
    if not re.fullmatch(r"[\x21-\x7e]+", password):
        raise _error(
            conn_id,
            "contains an invalid character in the key (field 'Personal access key', password): whitespace, a control "
            f"character or a non-ASCII character; {advice}",
        )
    return password


def _base_url(host: str, port: int | None, conn_id: str, *, allow_http: bool) -> str:
    if port is not None and not 0 <= port <= MAX_PORT:
        raise _error(conn_id, f"has an invalid port, {port}; use a number between 1 and {MAX_PORT}")
    name, scheme, host_port = _host_parts(host, conn_id)
    if host_port == 0:
        raise _error(conn_id, "has port 0 in its Host; remove it or enter the actual port")
    if port and host_port and port != host_port:
        raise _error(
            conn_id, f"specifies two different ports: {host_port} in Host and {port} in Port; remove one of them"
        )
    if scheme == "http" and not (allow_http or _is_loopback(name)):
        raise _error(
            conn_id,
            "would send the key in plain text because Host starts with http://. Use https://, "
            'or set the extra "allow_http" to true to allow this',
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
        raise _error(
            conn_id, f"has a user name or password in Host; enter the key in the Password field instead, and {advice}"
        )
    if parts.path.rstrip("/") not in ("", "/api") or parts.query or parts.fragment:
        raise _error(conn_id, f"has a path, query string or fragment in Host; enter only the host name, and {advice}")
    return name, parts.scheme, number


def _ascii_name(hostname: str) -> str:
    """Return the host name as it goes over the wire.

    :raises ValueError: if it is not a host name.
    """
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
    """Return a number of seconds, given as a number or, as a form stores it, as a string."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= MAX_SECONDS:
        raise _invalid(conn_id, name, value, "it must be a number of seconds greater than 0 and at most 86400")
    return number


def _count(name: str, value: Any, conn_id: str) -> int:
    text = str(value)[:10]
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= MAX_COUNT:
        raise _invalid(conn_id, name, value, f"it must be an integer between 1 and {MAX_COUNT}")
    return number


def _timeout(name: str, value: Any, conn_id: str) -> tuple[float, float]:
    if isinstance(value, list | tuple):
        if len(value) != 2:  # noqa: PLR2004 - connect and read
            raise _invalid(conn_id, name, value, "it must be a number of seconds, or a list of two")
        connect, read = value
        return _number(name, connect, conn_id), _number(name, read, conn_id)
    return _number(name, value, conn_id), _number(name, value, conn_id)


def _boolean(name: str, value: Any, conn_id: str) -> bool:
    flag = {"true": True, "false": False}.get(str(value).lower())
    if flag is None:
        raise _invalid(conn_id, name, value, "it must be true or false")
    return flag


def _verify(name: str, value: Any, conn_id: str) -> bool | str:
    if isinstance(value, str) and value.lower() not in ("true", "false"):
        return _existing_path(name, value, conn_id)
    return _boolean(name, value, conn_id)


def _existing_path(name: str, value: Any, conn_id: str) -> str:
    if not isinstance(value, str) or not os.path.exists(value):  # noqa: PTH110 - Path.exists raises for odd paths
        raise _error(
            conn_id,
            f"points the extra {name!r} to {redaction.show_path(value)}, which does not exist. The file must be "
            "present on every worker and triggerer",
        )
    return value


def _cert(name: str, value: Any, conn_id: str) -> str | tuple[str, str]:
    if isinstance(value, list | tuple):
        if len(value) != 2:  # noqa: PLR2004 - certificate and key
            raise _error(
                conn_id, f"has a malformed extra {name!r}; it must be a path, or a list of certificate and key"
            )
        return _existing_path(name, value[0], conn_id), _existing_path(name, value[1], conn_id)
    return _existing_path(name, value, conn_id)


def _proxies(name: str, value: Any, conn_id: str) -> dict[str, str]:
    is_valid = isinstance(value, dict) and all(
        _PROXY_NAME.fullmatch(scheme) and isinstance(url, str) for scheme, url in value.items()
    )
    if not is_valid:
        # The value is not shown: a proxy's URL may hold a password.
        raise _error(
            conn_id, f'has a malformed extra {name!r}; it must be like {{"https": "http://proxy.example:3128"}}'
        )
    return dict(value)


def _check_proxies(config: ClientConfig) -> None:
    """Check that the proxies are not all for ``http://``, and so would never be used."""
    if (
        config.base_url.startswith("https:")
        and config.proxies
        and all(name.partition(":")[0] == "http" for name in config.proxies)
    ):
        raise _error(
            config.conn_id,
            f"has no proxy for {config.base_url} in its extra 'proxies'; it must be like "
            '{"https": "http://proxy.example:3128"}',
        )


def _text(name: str, value: Any, conn_id: str) -> str:
    if not isinstance(value, str) or value != value.strip() or not value.isprintable():
        raise _error(
            conn_id, f"has a malformed extra {name!r}; it must be a string without leading or trailing whitespace"
        )
    return value


def _api(name: str, value: Any, conn_id: str) -> str:
    if not isinstance(value, str) or value not in _DEFAULT_HOSTS:
        raise _invalid(conn_id, name, value, "it must be one of 'auto', 'command' and 'rpc'")
    return str(value)


def _pattern(name: str, value: Any, conn_id: str) -> str:
    """Check a URL pattern: it becomes a link in the Airflow UI."""
    text = _text(name, value, conn_id)
    try:
        asked = [
            (field, form or conversion) for _, field, form, conversion in Formatter().parse(text) if field is not None
        ]
    except ValueError:  # a brace too many
        asked = [("", "")]
    if not all(field in PAGE_IDS and not form for field, form in asked):
        raise _invalid(conn_id, name, text, f"only these placeholders are allowed: {_quoted(sorted(PAGE_IDS))}")
    if not text.startswith(("https://", "http://")):
        raise _invalid(conn_id, name, text, "it must start with https://")
    return text


_LIMITS: dict[str, Callable[[str, Any, str], Any]] = {
    "max_attempts": _count,
    "max_wait": _number,
    "max_elapsed": _number,
}
_EXTRAS: dict[str, Callable[[str, Any, str], Any]] = {
    "timeout": _timeout,
    "verify": _verify,
    "cert": _cert,
    "proxies": _proxies,
    "api": _api,
    "organization_id": _text,
    "organization_slug": _text,
    "allow_http": _boolean,
    "ui_url": _pattern,
    "max_response_mib": _count,
    **_LIMITS,
}
