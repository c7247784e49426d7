"""Airflow connections to a sandbox."""

from __future__ import annotations

import json

from airflow_provider_polyteia.sandbox import constants


def airflow_connection(api: str, base_url: str, password: str) -> str:
    """Return an Airflow connection to a sandbox as JSON, for `AIRFLOW_CONN_<ID>`.

    :param api: API that the sandbox serves.
    :param base_url: URL of the sandbox.
    :param password: Key of the connection.
    """
    extra = {"api": api}
    if api == "rpc":
        extra["organization_id"] = constants.SANDBOX_ORGANIZATION_ID
    return json.dumps({"conn_type": "polyteia", "host": base_url, "password": password, "extra": extra})
