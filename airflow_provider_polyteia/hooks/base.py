"""The connection of `PolyteiaHook`: from an Airflow connection to a client and the operations of its API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from airflow_provider_polyteia import provider_info
from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.hooks.connection import USER_AGENT, missing_connection, read_config

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.config import ClientConfig
    from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient

_GENERATED_ID = re.compile(r"[A-Za-z0-9]{8}")


class PolyteiaBaseHook(BaseHook):
    """Reads the Airflow connection, and keeps the client that runs operations with its key. Not thread-safe.

    :param polyteia_conn_id: id of the connection, type Polyteia. Default: ``polyteia_default``.
    :param max_attempts: maximum number of attempts per operation. Default: None, as in the connection.
    :param max_wait: maximum time in seconds between two attempts. Default: None, as in the connection.
    :param max_elapsed: time in seconds after which no further attempt begins. Default: None, as in the connection.
    :param max_server_errors: maximum number of attempts when the platform itself reports an internal error. Default:
        None, 3 attempts.
    """

    conn_name_attr = "polyteia_conn_id"
    default_conn_name = provider_info.DEFAULT_CONNECTION
    conn_type = provider_info.CONNECTION_TYPE
    hook_name = provider_info.HOOK_NAME

    def __init__(
        self,
        polyteia_conn_id: str = default_conn_name,
        *,
        max_attempts: int | None = None,
        max_wait: float | None = None,
        max_elapsed: float | None = None,
        max_server_errors: int | None = None,
    ) -> None:
        super().__init__()
        self.polyteia_conn_id = polyteia_conn_id
        self._limits = {
            "max_attempts": max_attempts,
            "max_wait": max_wait,
            "max_elapsed": max_elapsed,
            "max_server_errors": max_server_errors,
        }
        self._client: PolyteiaClient | None = None
        self._api: PlatformAPI | None = None
        self._is_cancelled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def config(self) -> ClientConfig:
        """The validated settings of the connection.

        :raises PolyteiaConfigurationError: if the connection does not exist, or something in it is unusable.
        """
        try:
            connection = self.get_connection(self.polyteia_conn_id)
        except AirflowNotFoundException:
            raise missing_connection(self.polyteia_conn_id) from None
        extra = connection.extra_dejson if connection.extra else {}
        return read_config(self.polyteia_conn_id, connection, extra).with_limits(**self._limits)

    def get_conn(self) -> PolyteiaClient:
        """Return the client, created at the first use and kept until `close`.

        :raises PolyteiaConfigurationError: if the connection does not exist or is unusable.
        """
        if self._client is None:
            from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient  # noqa: PLC0415 - heavy

            config = self.config
            mask_secret(config.key)
            self._client = PolyteiaClient(config, user_agent=USER_AGENT, on_secret=mask_secret)
            if self._is_cancelled:
                self._client.cancel()
        return self._client

    @property
    def api(self) -> PlatformAPI:
        """The operations of the API that the connection uses, chosen at the first use and kept until `close`.

        Its ``name`` is ``"command"`` or ``"rpc"``. Use the methods of the hook instead of its operations.

        :raises PolyteiaError: if the host had to be asked which API it serves, and that failed.
        """
        if self._api is None:
            from airflow_provider_polyteia.client.api import select_api  # noqa: PLC0415 - imported when a task runs

            client = self.get_conn()
            self._api = client.run(select_api(client.credentials))
        return self._api

    def close(self) -> None:
        """Close the client's connections, and forget its access token.

        A session of the RPC API is kept for other hooks of the process with the same connection.
        """
        if self._client is not None:
            self._client.close()
            self._client = self._api = None

    def cancel(self) -> None:
        """End waits and begin no further attempt; for `on_kill`, which runs in a signal handler.

        :raises BaseException: if the calling thread is sending a request, to end it; the method of the hook that sends
            it then raises a PolyteiaError, which says what is unknown.
        """
        self._is_cancelled = True
        if self._client is not None:
            self._client.cancel()

    def test_connection(self) -> tuple[bool, str]:
        """Check that the platform accepts the key; for the Test button of the connection form.

        Makes a single attempt. On the RPC API, the key is exchanged for a new session.

        :return: whether it succeeded, and a sentence for the user. Never raises PolyteiaError.
        """
        try:
            # Disable retries because a user is waiting for the result.
            with type(self)(self.polyteia_conn_id, max_attempts=1) as once:
                organization = once.get_conn().run(once.api.test_connection())
        except PolyteiaError as error:
            return False, _hide_generated_id(str(error), self.polyteia_conn_id)
        if organization is None:
            return True, "Connected, but the key has no access to any organization."
        return True, f"Connected to organization {organization!r}."


def _hide_generated_id(text: str, conn_id: str) -> str:
    """Replace the id under which Airflow's form tests a connection: it would mean nothing to the user."""
    if not _GENERATED_ID.fullmatch(conn_id):
        return text
    generated = f"onnection {conn_id!r}"
    return text.replace(f"c{generated}", "this connection").replace(f"C{generated}", "This connection")
