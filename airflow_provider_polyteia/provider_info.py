"""The provider's metadata for Airflow: the connection type and its form, and the modules.

The form is declared here once. Airflow 3.2 and newer read it from here; for older versions the hook's
`get_ui_field_behaviour` and `get_connection_form_widgets` are derived from it.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "polyteia"
DEFAULT_CONNECTION = "polyteia_default"
HOOK_NAME = "Polyteia"

# Order is the order of the form. Further extras, documented in docs/connection.md, are entered in the field Extra.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "api": {
        "label": "API",
        "description": "command, rpc, or auto: whichever the host serves. Default: auto",
        "schema": {
            "type": ["string", "null"],
            "enum": [None, "auto", "command", "rpc"],
            "values_display": {"null": "(default)"},  # Airflow would show "null"
        },
    },
    "organization_id": {
        "label": "Organization ID",
        "description": (
            "Such as org_d2k7m0p4c5v1s8h3q9t0. Required on the RPC API, unless the slug is set; on the command API, "
            "only if the key can access several organizations"
        ),
        "schema": {"type": ["string", "null"]},
    },
    "organization_slug": {
        "label": "Organization slug",
        "description": "Instead of the ID, on the RPC API only",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "Connect and read timeout. Default: 10 and 60",
        "schema": {"type": ["number", "null"]},
    },
    "max_attempts": {
        "label": "Maximum attempts",
        "description": "Maximum number of attempts per request. Default: 5",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a CA bundle on the workers and triggerers. Default: true",
        "schema": {"type": ["string", "null"]},
    },
    "ui_url": {
        "label": "UI URL pattern",
        "description": "URL pattern of links to Polyteia, such as https://app.polyteia.com/datasets/{dataset_id}",
        "schema": {"type": ["string", "null"]},
    },
}

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "Personal access key", "host": "Host (optional)", "port": "Port (optional)"},
    "placeholders": {
        "host": "https://app.polyteia.com",
        "password": "From Settings → Personal Access Keys in Polyteia",
        "port": "443",
    },
}


ASSET_URIS: list[dict[str, Any]] = [
    {
        "schemes": ["polyteia"],
        "handler": "airflow_provider_polyteia.assets.polyteia.sanitize_uri",
        "factory": "airflow_provider_polyteia.assets.polyteia.create_asset",
        "to_openlineage_converter": "airflow_provider_polyteia.assets.polyteia.convert_asset_to_openlineage",
    }
]


def _modules(*names: str) -> list[dict[str, Any]]:
    modules = [f"airflow_provider_polyteia.{name}" for name in names]
    return [{"integration-name": "Polyteia", "python-modules": modules}]


def _transfer(source: str, target: str, name: str) -> dict[str, Any]:
    return {
        "source-integration-name": source,
        "target-integration-name": target,
        "python-module": f"airflow_provider_polyteia.transfers.{name}",
    }


PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-polyteia",
    "name": "Polyteia",
    "description": "Polyteia, a data platform for public administrations: create datasets, load them, wait for them.",
    "integrations": [
        {
            "integration-name": "Polyteia",
            "external-doc-url": "https://docs.polyteia.com/",
            "tags": ["service"],
        }
    ],
    "connection-types": [
        {
            "connection-type": CONNECTION_TYPE,
            "hook-name": HOOK_NAME,
            "hook-class-name": "airflow_provider_polyteia.hooks.polyteia.PolyteiaHook",
            "conn-fields": CONNECTION_FIELDS,
            "ui-field-behaviour": FIELD_BEHAVIOUR,
        }
    ],
    "hooks": _modules("hooks.polyteia"),
    "operators": _modules("operators.polyteia", "operators.dataset", "operators.sql"),
    "sensors": _modules("sensors.dataset"),
    "triggers": _modules("triggers.dataset", "triggers.ingest"),
    "transfers": [
        _transfer("File", "Polyteia", "file_to_polyteia"),
        _transfer("SQL", "Polyteia", "sql_to_polyteia"),
        _transfer("SQL", "Polyteia", "sql_table_to_polyteia"),
        _transfer("Polyteia", "File", "polyteia_to_file"),
    ],
    "extra-links": ["airflow_provider_polyteia.links.polyteia.PolyteiaLink"],
    "asset-uris": ASSET_URIS,
    "dataset-uris": ASSET_URIS,  # their name in Airflow 2
}
