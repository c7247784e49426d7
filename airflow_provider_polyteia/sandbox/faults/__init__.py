"""Faults that the sandbox injects into calls.

Grammar::

    <call>:<kind>[:<argument>][:<selector>]

`call` is the name of a call of the served API, or `*` for any of them. Command API: a command or query, `/upload`,
`/download`, or `/auth/pak/token`. RPC API: a procedure such as `dataset/createDataset`, `/api/upload/dataset`,
`/api/query`, or `/storage` (presigned URLs). `selector` selects calls by their number since the fault was added: `3` is
the third call, `2-4` the second to the fourth, `2-` all calls from the second on, and `p=0.3` each call with this
probability (seeded). Default: every call.

Kinds that end in `-after` apply the call first, so only its response is lost or wrong. The others do not apply it. ::

    drop-before          drop-after            reset the connection without a response
    close-before         close-after           close the connection without a response
    hang:<s>             hang-after:<s>        send nothing for this many seconds, then reset the connection
    status:<code>        status-after:<code>   this HTTP status with a text body (401: the API's own form)
    body-error:<code>    body-error-after:<code>   error in the API's own form. Command API: HTTP 200 with this
                                               error.code; /upload, /download and RPC API: this HTTP status
    garbage              garbage-after         HTTP 200 with the content type of JSON, but invalid JSON
    html                 html-after            HTTP 200 with a web page
    empty-after          no-content-after      HTTP 200 and 204 without a body
    null-after           text-after            HTTP 200 with JSON `null` and with the plain text `OK`
    redirect             redirect-after        302 to the start page
    retry-after:<s>      retry-after-date:<s>  429 with Retry-After in seconds or as an HTTP date
    unavailable:<s>      unavailable-date:<s>  503 with Retry-After in seconds or as an HTTP date
    unavailable-after:<s>                      503 with Retry-After in seconds, although the call was applied
    slow:<bytes per s>                         send the response slowly; uploads: receive the request slowly
    drop-at:<percent>                          uploads: reset the connection after receiving this share;
                                               downloads: reset the connection after sending this share
    short                                      downloads: send half of the announced length, then close
    wrong-length                               downloads: announce half of the length and send half
    partial              no-bytes              downloads: HTTP 206 with half of the file; HTTP 200 without content
    unframed                                   downloads: send half without length or chunks, then close
    gzip-short           unknown-coding        downloads: half of a gzip stream; a content coding that does not exist
    huge:<MiB>           endless               HTTP 500 with a text of this size; HTTP 200 with JSON without end
    ingest-failed                              /api/upload/dataset: the ingest of this upload fails
    ingest-stuck                               /api/upload/dataset: the ingest runs indefinitely
    ingest-lost                                /api/upload/dataset: the ingest completes, but its status is 404

Uploads are `/upload` and `/api/upload/dataset`, downloads are `/download` and `/storage`.
If several faults match a call, the one that was added first is applied.
"""

from __future__ import annotations

from airflow_provider_polyteia.sandbox.faults.specs import FaultError, Faults

__all__ = ["FaultError", "Faults"]
