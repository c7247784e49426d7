"""From an Airflow connection, however it was read, to the client's configuration."""

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
    """Build the error of an Airflow connection that is not there."""
    return PolyteiaConfigurationError(
        f"There is no connection {conn_id!r}. Create it under Admin -> Connections with the type Polyteia, or with: "
        f"airflow connections add {conn_id} --conn-type polyteia --conn-password <personal access key>",
        conn_id=conn_id,
    )


def config_of(conn_id: str, connection: Any, extra: Any) -> ClientConfig:
    """Check the contents of an Airflow connection.

    :param extra: the connection's Extra, decoded; text that is no JSON object is refused, not ignored.
    :raises PolyteiaConfigurationError: if something in it is unusable.
    """
    if not isinstance(extra, dict) or (connection.extra and not extra and connection.extra.strip() != "{}"):
        raise PolyteiaConfigurationError(
            f'Connection {conn_id!r} has an Extra that is no JSON object; write it like {{"timeout": 30}}.',
            conn_id=conn_id,
        )
    return from_connection(
        conn_id, host=connection.host, port=connection.port, password=connection.password, extra=extra
    )
