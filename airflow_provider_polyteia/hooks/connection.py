"""Turns an Airflow connection, however it was read, into the client's configuration."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia import __version__
from airflow_provider_polyteia.client.config import from_connection
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.version_compat import AIRFLOW_VERSION

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.config import ClientConfig

USER_AGENT = (
    f"airflow-provider-polyteia/{__version__} apache-airflow/{AIRFLOW_VERSION} python/{platform.python_version()}"
)


def missing_connection(conn_id: str) -> PolyteiaConfigurationError:
    """Return the exception for an Airflow connection that does not exist."""
    return PolyteiaConfigurationError(
        f"Connection {conn_id!r} does not exist. Create it under Admin -> Connections with the type Polyteia, or with: "
        f"airflow connections add {conn_id} --conn-type polyteia --conn-password <personal access key>",
        conn_id=conn_id,
    )


def read_config(conn_id: str, connection: Any, extra: Any) -> ClientConfig:
    """Check the contents of an Airflow connection and return the configuration.

    :param extra: the connection's Extra, decoded; text that is not a JSON object is rejected, not ignored.
    :raises PolyteiaConfigurationError: if something in it is unusable.
    """
    if not isinstance(extra, dict) or (connection.extra and not extra and connection.extra.strip() != "{}"):
        raise PolyteiaConfigurationError(
            f'Connection {conn_id!r} has an invalid Extra: expected a JSON object such as {{"timeout": 30}}.',
            conn_id=conn_id,
        )
    return from_connection(
        conn_id, host=connection.host, port=connection.port, password=connection.password, extra=extra
    )
