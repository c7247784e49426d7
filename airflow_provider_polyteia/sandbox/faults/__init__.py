"""Faults that the sandbox injects into calls.

Grammar::

    <call>:<kind>[:<argument>][:<selector>]

`call` is a command or query, or `/upload`, `/download`, `/auth/pak/token`, or `*` for any of them. `selector` selects
calls by their number since the fault was added: `3` is the third call, `2-4` the second to the fourth, `2-` all calls
from the second on, and `p=0.3` each call with this probability (seeded). Default: every call.

Kinds that end in `-after` apply the call first, so only its response is lost or wrong. The others do not apply it. ::

    drop-before          drop-after            reset the connection without a response
    close-before         close-after           close the connection without a response
    hang:<s>             hang-after:<s>        send nothing for this many seconds, then reset the connection
    status:<code>        status-after:<code>   this HTTP status with a text body (401: the platform's JSON)
    body-error:<code>    body-error-after:<code>   HTTP 200 with this error.code
    garbage              garbage-after         HTTP 200 with the content type of JSON, but invalid JSON
    html                 html-after            HTTP 200 with a web page
    redirect             redirect-after        302 to the start page
    retry-after:<s>      retry-after-date:<s>  429 with Retry-After in seconds or as an HTTP date
    unavailable:<s>      unavailable-date:<s>  503 with Retry-After in seconds or as an HTTP date
    unavailable-after:<s>                      503 with Retry-After in seconds, although the call was applied
    slow:<bytes per s>                         send the response slowly; /upload: receive the request slowly
    drop-at:<percent>                          /upload: reset the connection after receiving this share;
                                               /download: reset the connection after sending this share
    short                                      /download: send half of the announced length, then close
    wrong-length                               /download: announce half of the length and send half

If several faults match a call, the one that was added first is applied.
"""

from __future__ import annotations

from airflow_provider_polyteia.sandbox.faults.specs import FaultError, Faults

__all__ = ["FaultError", "Faults"]
