"""Sources and destinations whose URL grants access by itself: neither log nor exception repeats what grants it."""

from __future__ import annotations

import logging
import traceback

import pytest
from airflow.providers.common.compat.sdk import redact

from airflow_provider_polyteia.exceptions import PolyteiaError


@pytest.mark.parametrize("convert", [False, True])
@pytest.mark.parametrize(
    "source",
    [
        "https://127.0.0.1:1/a.csv?X-Amz-Signature=S3CRET",
        "ftp://reader:S3CRET@127.0.0.1:1/a.csv",
        "unknown://reader:S3CRET@host/a.csv",
    ],
)
def test_secrets_of_sources(source, convert, hook, caplog):
    """What grants access to a source is in no exception, and masked in the log, also where a library logs it."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PolyteiaError) as caught:
        hook.upload_dataset("ds_1", source, convert=convert)
    assert "a.csv" in str(caught.value)
    assert "S3CRET" not in "".join(traceback.format_exception(caught.value)) + redact(caplog.text)


@pytest.mark.parametrize(
    "destination", ["ftp://reader:S3CRET@127.0.0.1:1/a.parquet", "unknown://reader:S3CRET@host/a.parquet"]
)
def test_secrets_of_destinations(destination, hook, caplog):
    """The same for the destination of an export."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PolyteiaError) as caught:
        hook.export_dataset("ds_1", destination)
    assert "S3CRET" not in "".join(traceback.format_exception(caught.value)) + redact(caplog.text)
