"""Upload a file into a dataset (API reference 7): a fresh token and the whole file, in one loop of attempts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_polyteia.client import transfer
from airflow_provider_polyteia.client.calls import make_call
from airflow_provider_polyteia.client.multipart import FileBody, Source
from airflow_provider_polyteia.client.progress import size_of
from airflow_provider_polyteia.client.protocol import Request, authorised, check
from airflow_provider_polyteia.exceptions import PolyteiaAPIError

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.sync import PolyteiaClient

log = logging.getLogger(__name__)

PATH = "/upload"
_TOO_LARGE = 413


def upload(
    client: PolyteiaClient, dataset_id: str, source: Source, content_type: str, *, timeout: float | None = None
) -> None:
    """Replace a dataset's data with a file.

    :param content_type: MIME type of the data.
    :param timeout: seconds without a byte in either direction that end an attempt; None (default): 300, or the
        connection's timeout if that is longer.
    :raises PolyteiaError: the dataset is then as it was before, unless the answer to a complete upload was lost in
        every attempt.
    """
    params = {"id": dataset_id, "content_type": content_type}
    token_call = make_call("command", "generate_dataset_upload_token", params, needs="token")
    silence = transfer.patience(client, timeout)

    def send(token: str) -> None:
        body = FileBody(source)
        headers = {"X-Upload-Token": token, "Content-Type": body.content_type}
        request = Request("POST", PATH, PATH, headers, body=body, timeout=silence)
        client.run(authorised(client.identity, request, lambda response: check(PATH, response, client.identity)))

    begun = client.clock()
    try:
        transfer.repeat(client, PATH, {"id": dataset_id}, lambda: transfer.with_token(client, token_call, send))
    except PolyteiaAPIError as error:
        if error.http_status == _TOO_LARGE:
            error.add_text(f"{size_of(source.size)} is more than the platform, or a gateway before it, takes.")
        raise
    seconds = max(client.clock() - begun, 1e-3)
    log.info(
        "Uploaded %r into dataset %r: %s in %.1f s (%s/s)",
        source.name,
        dataset_id,
        size_of(source.size),
        seconds,
        size_of(source.size / seconds),
    )
