"""The client of workers: one pooled requests session that moves bytes, sleeps, and decides nothing."""

from __future__ import annotations

import logging
import random
import sys
import time
from dataclasses import replace
from functools import cached_property, partial
from http.cookiejar import DefaultCookiePolicy
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import requests
from requests.auth import AuthBase
from tenacity import Retrying
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.operation import Response
from airflow_provider_polyteia.client.retries import Attempts
from airflow_provider_polyteia.client.transports.bodies import ACCEPT_ENCODING, BodyReader, check_identity
from airflow_provider_polyteia.client.transports.environment import load_certificates, settings_for
from airflow_provider_polyteia.client.transports.failures import Failure, to_exception
from airflow_provider_polyteia.client.transports.requests_adapter import (
    ConnectFailureAdapter,
    classify,
    hide_queries_in_logs,
)
from airflow_provider_polyteia.client.transports.requests_connections import RequestKilledError, guarded
from airflow_provider_polyteia.client.transports.wire_guard import MIN_FILE_RATE, MIN_RATE, WireGuard
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaTransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.operation import Flow, Operation, Request, Sink
    from airflow_provider_polyteia.client.transports.environment import Settings

log = logging.getLogger(__name__)

# A server may close an idle connection just as we send on it, which leaves the outcome unknown. Do not reuse
# connections that were idle for longer than this.
MAX_IDLE = 5.0
_POLL_INTERVAL = 0.5
_CHUNK = 256 * 1024

T = TypeVar("T")


class BearerAuth(AuthBase):
    """Puts the credential into ``Authorization``, or nothing if it is empty.

    As an auth object, because a .netrc entry replaces a bare header.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "<BearerAuth ***>"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        if self._secret:
            request.headers["Authorization"] = f"Bearer {self._secret}"
        return request


class PolyteiaClient:
    """Runs operations on one platform with one key. Not thread-safe.

    :param user_agent: sent with every request.
    :param on_secret: called with every new token, so that it can be masked in logs.
    :param clock: returns seconds on a clock that never goes back.
    :param sleep: waits for a number of seconds.
    :param jitter: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        user_agent: str = "airflow-provider-polyteia",
        on_secret: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.credentials = Credentials(config, on_secret, clock)
        self.clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._is_cancelled = False
        self._sending_thread: int | None = None
        self._used_at = clock()
        self._session = _new_session(user_agent)

    def __repr__(self) -> str:
        return f"<PolyteiaClient {self.config.base_url} connection={self.config.conn_id!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client can be used again afterwards."""
        self._session.close()

    def cancel(self) -> None:
        """End waits between attempts and begin no further attempt; for signal handlers, also end the running request.

        :raises RequestKilledError: if the calling thread is sending a request, which a signal handler has interrupted.
            `transmit` turns it into an exception of this provider.
        """
        self._is_cancelled = True
        if self._sending_thread == get_ident():
            raise RequestKilledError(is_sent=True)

    @property
    def is_cancelled(self) -> bool:
        """True after `cancel`."""
        return self._is_cancelled

    def run(self, operation: Operation[T], *, deadline: float | None = None) -> T:
        """Run an operation, retry it as far as that is safe, and return its result.

        :param deadline: time on the client's clock after which no attempt begins. Default: the connection's limits.
        :raises PolyteiaError: see `exceptions`.
        """
        attempts = self.attempts(operation, deadline)

        def attempt() -> T:
            attempts.begin()
            try:
                return self.run_flow(operation.start())
            except PolyteiaError as error:
                attempts.record_failure(error)
                return cast("T", None)  # applied by an earlier attempt, whose response was lost

        return self.with_retries(attempts, attempt)

    def attempts(self, operation: Operation[Any], deadline: float | None = None) -> Attempts:
        """Begin to count the attempts at an operation."""
        limits = self.config.limits
        return Attempts(operation, limits, clock=self.clock, jitter=self._jitter, deadline=deadline)

    def with_retries(self, attempts: Attempts, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it succeeds, or `attempts` allows no further one."""
        result: T = Retrying(**attempts.policy(self.sleep))(attempt)
        return result

    def run_flow(self, flow: Flow[T]) -> T:
        """Make one attempt: send a flow's requests, and return the responses, or what prevented them, to it."""
        step = partial(next, flow)
        try:
            while True:
                request = step()
                try:
                    step = partial(flow.send, self.transmit(request))
                except PolyteiaError as error:
                    step = partial(flow.throw, error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()  # when interrupted, what the flow has open is closed now

    def transmit(self, request: Request) -> Response:
        """Send one request and read its response: completely, or into the request's sink if that accepts it."""
        started = self.clock()
        timeout = self.config.timeout if request.idle_timeout is None else (request.idle_timeout,) * 2
        guard = WireGuard(sum(timeout), MIN_RATE if request.idle_timeout is None else MIN_FILE_RATE, self.clock)
        self._drop_idle_connections(started)
        failure: Failure | None = None
        killed: RequestKilledError | None = None
        ambient = sys.exception()
        try:
            response = self._exchange(request, timeout, guard)
        except (OSError, HTTPError, ValueError) as error:  # requests raises ValueError for malformed headers
            failure = classify(error, ambient)
        except RequestKilledError as error:
            killed = error
        if killed is not None:
            raise _killed(request.name, self.config.conn_id, is_sent=killed.is_sent)
        if failure is not None:
            # Raised outside the except block so that the original exception, which may contain a token, is not chained.
            raise to_exception(failure, request.name, self.config, request.idle_timeout, request.origin)
        self._used_at = self.clock()
        milliseconds = 1000 * (self._used_at - started)
        log.debug("Polyteia request %r: HTTP %d in %.0f ms", request.name, response.status, milliseconds)
        return response

    def _exchange(self, request: Request, timeout: tuple[float, float], guard: WireGuard) -> Response:
        """Send a request and read its response. `cancel` ends it from here on, in the same thread."""
        self._sending_thread = get_ident()
        try:
            self._check_not_cancelled()
            with guarded(guard), self._send(request, timeout) as received:
                return _receive(received, request.sink, guard, self.config.max_response)
        except BaseException as error:
            if not isinstance(error, Exception | RequestKilledError):  # such as AirflowTaskTimeout
                interruption = type(error).__name__
                log.warning(
                    "%s interrupted the request %r. If it is a write, it is unknown whether it was applied.",
                    interruption,
                    request.name,
                )
            raise
        finally:
            self._sending_thread = None

    def _check_not_cancelled(self) -> None:
        if self._is_cancelled:
            raise RequestKilledError(is_sent=False)

    def _send(self, request: Request, timeout: tuple[float, float]) -> requests.Response:
        prepared = self._session.prepare_request(
            requests.Request(
                request.method,
                request.url or self.config.base_url + request.path,
                params=request.query,
                data=request.body,
                headers=request.headers,
                auth=BearerAuth(request.bearer),
            )
        )
        settings = self._settings_for(request.url)
        return self._session.send(prepared, timeout=timeout, allow_redirects=False, stream=True, **settings)

    def _settings_for(self, url: str) -> dict[str, Any]:
        """Return how to reach a URL on another host; the connection's own host if it is empty."""
        return _arguments(settings_for(self.config, url)) if url else self._settings

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Proxy and certificates of the connection and of the environment.

        Merged once, because that takes half the time that requests needs for a call. Passed with each request, because
        the environment variable REQUESTS_CA_BUNDLE would override the session's ``verify``.

        :raises OSError: if a certificate file is not readable; to requests that would be a failure of TLS.
        """
        settings = settings_for(self.config)
        if self.config.base_url.startswith("https:"):
            load_certificates(create_urllib3_context(), settings.verify, settings.cert)
        return _arguments(settings)

    def _drop_idle_connections(self, now: float) -> None:
        if now - self._used_at > MAX_IDLE:
            self._session.close()

    def sleep(self, seconds: float) -> None:
        """Sleep in short intervals, so that `cancel` and signals end the wait soon.

        :raises PolyteiaError: if the task is killed.
        """
        end = self.clock() + seconds
        while not self._is_cancelled and (left := end - self.clock()) > 0:
            self._sleep(min(left, _POLL_INTERVAL))
        if self._is_cancelled:
            raise PolyteiaError("The task was killed while it waited for a retry.", conn_id=self.config.conn_id)


def _killed(name: str, conn_id: str, *, is_sent: bool) -> PolyteiaError:
    """Return the exception for a request that was not sent, or not waited for, because the task was killed."""
    if not is_sent:
        text = f"The task was killed before it sent {name!r}."
        return PolyteiaError(text, method=name, conn_id=conn_id, not_applied=True)
    text = f"The task was killed while it waited for the response to {name!r}."
    return PolyteiaTransportError(text, method=name, conn_id=conn_id)


def _arguments(settings: Settings) -> dict[str, Any]:
    """Return settings as requests takes them with each request."""
    proxies = dict.fromkeys(("http", "https"), settings.proxy) if settings.proxy else {}
    return {"proxies": proxies, "verify": settings.verify, "cert": settings.cert}


def _receive(received: requests.Response, sink: Sink | None, guard: WireGuard, max_size: int) -> Response:
    headers = {name.lower(): value for name, value in received.headers.items()}
    head = Response(received.status_code, headers, b"")
    if sink is not None and sink.wants(head):
        check_identity(head)
        for chunk in _chunks(received, guard):
            sink.write(chunk)
        sink.close(received.raw.tell())
        return head
    body = BodyReader(head, max_size, is_error=sink is not None or not head.is_success)
    for chunk in _chunks(received, guard):
        if not body.feed(chunk):
            break
    return replace(head, body=body.finish())


def _chunks(received: requests.Response, guard: WireGuard) -> Iterator[bytes]:
    """Yield the body as it arrives; if it is read to its end, the connection can be used again."""
    for chunk in received.raw.stream(_CHUNK, decode_content=False):
        guard.delivered()
        yield chunk
    received.raw.release_conn()


class _Session(requests.Session):
    """A session that does not even look where a redirect leads: reading a malformed Location would fail."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: no redirect is followed."""


def _new_session(user_agent: str) -> requests.Session:
    hide_queries_in_logs()
    session = _Session()
    session.headers["User-Agent"] = user_agent
    session.headers["Accept-Encoding"] = ACCEPT_ENCODING  # requests would ask for all that it could decode
    for prefix in ("https://", "http://"):
        session.mount(prefix, ConnectFailureAdapter())
    # A gateway's cookies must not become part of our identity.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
