"""The RPC API: procedures below `/rpc`, uploads, SQL, and presigned URLs."""

from __future__ import annotations

from airflow_provider_polyteia.sandbox.api import Api, ApiRoute, CallNames
from airflow_provider_polyteia.sandbox.rpc_api.endpoints import (
    EXCHANGE,
    QUERY_PATH,
    RPC_PATH,
    UPLOAD_PATH,
    call_name,
    call_params,
    call_procedure,
)
from airflow_provider_polyteia.sandbox.rpc_api.errors import REST_ERRORS, STORAGE_ERRORS, procedure_errors
from airflow_provider_polyteia.sandbox.rpc_api.files import download, upload
from airflow_provider_polyteia.sandbox.rpc_api.presigned import STORAGE_PATH
from airflow_provider_polyteia.sandbox.rpc_api.procedures import PROCEDURES, call_directly
from airflow_provider_polyteia.sandbox.rpc_api.query import run_query
from airflow_provider_polyteia.sandbox.rpc_api.sessions import exchange
from airflow_provider_polyteia.sandbox.unknown_paths import serve_not_found


def _build_api(dialect: int) -> Api:
    exchange_errors = procedure_errors(dialect, unauthorized="Invalid personal access key")
    return Api(
        routes=(
            *(ApiRoute(f"{RPC_PATH}{EXCHANGE}{end}", None, exchange, errors=exchange_errors) for end in ("", "/")),
            ApiRoute(f"{RPC_PATH}{{procedure:path}}", None, call_procedure),
            ApiRoute(f"{UPLOAD_PATH}/{{dataset_id}}", "POST", upload, streamed=True, errors=REST_ERRORS),
            ApiRoute(QUERY_PATH, "POST", run_query, errors=REST_ERRORS),
            ApiRoute(f"{STORAGE_PATH}/{{token}}", "GET", download, errors=STORAGE_ERRORS),
        ),
        calls=CallNames(
            known=frozenset((*PROCEDURES, EXCHANGE, UPLOAD_PATH, QUERY_PATH, STORAGE_PATH)),
            uploads=(UPLOAD_PATH,),
            downloads=(STORAGE_PATH,),
            ingests=(UPLOAD_PATH,),
        ),
        call_name=call_name,
        call_params=call_params,
        errors=procedure_errors(dialect),
        unknown_path=serve_not_found,
        call=call_directly,
    )


RPC_APIS = {dialect: _build_api(dialect) for dialect in (1, 2)}
"""The RPC API in each dialect (docs/platform-api.md#rpc-dialects)."""
