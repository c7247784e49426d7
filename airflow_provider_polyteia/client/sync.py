"""The requests driver: one pooled session that moves bytes, sleeps, and decides nothing."""

from __future__ import annotations

import logging
import random
import sys
import time
from dataclasses import replace
from functools import cached_property, partial
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self, TypeVar

import requests
from requests.auth import AuthBase
from tenacity import Retrying
from urllib3.exceptions import HTTPError

from airflow_provider_polyteia.client import create, protocol
from airflow_provider_polyteia.client.connections import ProvingAdapter, explain
from airflow_provider_polyteia.client.retry import Attempts
from airflow_provider_polyteia.exceptions import PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.client.config import ClientConfig

log = logging.getLogger(__name__)

# A server may close a connection that rests at the very moment we send on it; then nobody knows whether the request
# was carried out. A connection used just now does not meet that fate.
MAX_IDLE = 5.0
_NAP = 0.5
_CHUNK = 256 * 1024
_MOST_OF_AN_ERROR = 64 * 1024

T = TypeVar("T")


class BearerAuth(AuthBase):
    """Puts the key into ``Authorization``. As an auth object, because a bare header loses against a .netrc entry."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "<BearerAuth ***>"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._secret}"
        return request


class PolyteiaClient:
    """Sends calls to one platform with one key. Not to be shared between threads.

    :param user_agent: sent with every request.
    :param on_secret: told of every token as it arrives, so that it can be masked in logs.
    :param clock: seconds on a clock that never goes back.
    :param sleep: waits that many seconds.
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
        self.identity = protocol.Identity(config, on_secret)
        self.clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._is_cancelled = False
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
        """End waits between attempts; begin no further attempt. Safe to call from a signal handler."""
        self._is_cancelled = True

    def send(self, call: Call, *, deadline: float | None = None) -> protocol.Answer:
        """Send a call, repeat it as far as that is harmless, and return its answer.

        :param deadline: on the client's clock; no further attempt begins later.
        :raises PolyteiaError: see `exceptions`.
        """
        attempts = self.attempts(call, deadline)

        def attempt() -> protocol.Answer:
            try:
                return self.run(protocol.converse(call, self.identity))
            except PolyteiaError as error:
                return attempts.settle(error)

        return self.repeat(attempts, attempt)

    def create(self, call: Call) -> create.Created:
        """Send a call that creates something with a natural key, exactly once: see `create`."""
        return create.create(self, call)

    def attempts(self, call: Call, deadline: float | None = None) -> Attempts:
        """Begin to count the attempts at a call."""
        limits = self.config.limits
        return Attempts(call, limits, clock=self.clock, jitter=self._jitter, deadline=deadline)

    def repeat(self, attempts: Attempts, attempt: Callable[[], T]) -> T:
        """Run `attempt` until it succeeds, or `attempts` says that it must not be run again."""
        result: T = Retrying(**attempts.policy(self.pause))(attempt)
        return result

    def run(self, conversation: Generator[protocol.Request, protocol.Response, T]) -> T:
        """Carry a conversation's requests to the platform and its responses, or what prevented them, back."""
        step = partial(next, conversation)
        while True:
            try:
                request = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            try:
                step = partial(conversation.send, self.transmit(request))
            except PolyteiaError as error:
                step = partial(conversation.throw, error)

    def transmit(self, request: protocol.Request) -> protocol.Response:
        """Send one request and read its response: whole, or into the request's sink if that wants it."""
        if self._is_cancelled:
            raise PolyteiaError("The task was killed before it sent this.", method=request.name, no_effect=True)
        begun = self.clock()
        config = self.config if request.timeout is None else replace(self.config, timeout=(request.timeout,) * 2)
        self._drop_idle_connections(begun)
        failure: PolyteiaError | None = None
        outside = sys.exception()
        try:
            with self._ask(request, config.timeout) as reply:
                response = _receive(reply, request.sink)
        except (OSError, HTTPError, ValueError) as error:  # ValueError: requests' way with odd headers
            failure = explain(error, request.name, config, outside)
        if failure is not None:
            raise failure  # out here, where the original error, whose text may hold a token, is not its context
        self._used_at = self.clock()
        log.debug(
            "Polyteia's %r: HTTP %d in %.0f ms",
            request.name,
            response.status,
            1000 * (self._used_at - begun),
        )
        return response

    def _ask(self, request: protocol.Request, timeout: tuple[float, float]) -> requests.Response:
        prepared = self._session.prepare_request(
            requests.Request(
                request.verb,
                self.config.base_url + request.path,
                params=request.query,
                data=request.body,
                headers=request.headers,
                auth=BearerAuth(request.bearer),
            )
        )
        settings = {**self._settings, "stream": request.sink is not None}
        return self._session.send(prepared, timeout=timeout, allow_redirects=False, **settings)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Proxies and certificates, of the connection and of the environment, as requests merges them.

        Merged once, because that takes half the time that requests needs for a call. Given with each request, because
        the environment variable REQUESTS_CA_BUNDLE would override the session's ``verify``.
        """
        config = self.config
        proxies = dict(config.proxies)
        return {**self._session.merge_environment_settings(config.base_url, proxies, None, config.verify, config.cert)}

    def _drop_idle_connections(self, now: float) -> None:
        if now - self._used_at > MAX_IDLE:
            self._session.close()

    def pause(self, seconds: float) -> None:
        """Sleep in short naps, so that `cancel` and signals end the wait soon."""
        end = self.clock() + seconds
        while not self._is_cancelled and (left := end - self.clock()) > 0:
            self._sleep(min(left, _NAP))
        if self._is_cancelled:
            raise PolyteiaError("The task was killed while it waited to repeat a call.", conn_id=self.config.conn_id)


def _receive(reply: requests.Response, sink: protocol.Sink | None) -> protocol.Response:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    head = protocol.Response(reply.status_code, headers, b"")
    if sink is None:
        return replace(head, body=reply.content)
    if not sink.wants(head):
        return replace(head, body=next(reply.iter_content(_MOST_OF_AN_ERROR), b""))
    for chunk in reply.iter_content(_CHUNK):
        sink.write(chunk)
    sink.close(reply.raw.tell())
    return head


class _Session(requests.Session):
    """A session that does not even look where a redirect leads: reading a malformed Location would fail."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: no redirect is followed."""


def _new_session(user_agent: str) -> requests.Session:
    session = _Session()
    session.headers["User-Agent"] = user_agent
    for prefix in ("https://", "http://"):
        session.mount(prefix, ProvingAdapter())
    # A gateway's cookies must not become part of who we are.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
