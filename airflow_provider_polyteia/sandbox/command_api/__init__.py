"""The command API: `POST /api`, the token exchange, uploads and downloads."""

from __future__ import annotations

from airflow_provider_polyteia.sandbox.api import Api, ApiRoute, CallNames, ErrorResponses
from airflow_provider_polyteia.sandbox.command_api.endpoints import (
    CALL_PATHS,
    DOWNLOAD_PATH,
    NAMED_PATHS,
    TOKEN_PATH,
    UPLOAD_PATH,
    call_directly,
    call_method,
    call_name,
    call_params,
    error_response,
    exchange_token,
    file_error_response,
    unauthorized_response,
)
from airflow_provider_polyteia.sandbox.command_api.files import download, upload
from airflow_provider_polyteia.sandbox.command_api.methods import METHODS
from airflow_provider_polyteia.sandbox.unknown_paths import serve_web_application

_FILE_ERRORS = ErrorResponses(file_error_response, unauthorized_response)

COMMAND_API = Api(
    routes=(
        *(ApiRoute(path, "POST", call_method) for path in CALL_PATHS),
        ApiRoute(TOKEN_PATH, "PUT", exchange_token),
        ApiRoute(UPLOAD_PATH, "POST", upload, streamed=True, errors=_FILE_ERRORS),
        ApiRoute(DOWNLOAD_PATH, "GET", download, errors=_FILE_ERRORS),
    ),
    calls=CallNames(
        known=frozenset((*METHODS, *NAMED_PATHS)),
        uploads=(UPLOAD_PATH,),
        downloads=(DOWNLOAD_PATH,),
    ),
    call_name=call_name,
    call_params=call_params,
    errors=ErrorResponses(error_response, unauthorized_response),
    unknown_path=serve_web_application,
    call=call_directly,
)
