"""The last upload in a dataset's record (docs/platform-api.md#last-upload)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import KEY

from airflow_provider_polyteia.client import config
from airflow_provider_polyteia.client.command_api.operations import CommandAPI
from airflow_provider_polyteia.client.credentials import Credentials
from airflow_provider_polyteia.client.records import DatasetRef, format_source_timestamp, parse_timestamp
from airflow_provider_polyteia.client.upload_condition import UploadCondition
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaProtocolError

ANY = UploadCondition(DatasetRef("ds_1"))
AT = "2026-03-01T06:04:58.512000Z"


def last_upload(record):
    return CommandAPI(Credentials(config.from_connection("city", password=KEY))).last_upload(record, ANY)


def record(**info):
    return {"id": "ds_1", "slug": "d", "metadata": {"asset_info": info}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["asset_info", "uploaded_at"]), inner),
    max_leaves=5,
)


@given(JSON)
def test_any_metadata(metadata):
    """Any `metadata` is read as an upload, as none, or as a protocol error."""
    try:
        upload = last_upload({"id": "ds_1", "metadata": metadata})
    except PolyteiaProtocolError:
        return
    assert upload is None or upload.timestamp.tzinfo is not None


@pytest.mark.parametrize(
    "empty",
    [{"id": "ds_1"}, {"metadata": None}, {"metadata": {}}, {"metadata": {"asset_info": None}}, record(size=3)],
)
def test_no_upload_yet(empty):
    """Each level may be missing before the first upload (docs/platform-api.md#last-upload)."""
    assert last_upload(empty) is None


def test_upload():
    """The summary contains the platform's own timestamp; what the platform omits is None."""
    upload = last_upload(record(uploaded_at=AT))
    assert upload.timestamp == datetime(2026, 3, 1, 6, 4, 58, 512000, tzinfo=UTC)
    assert upload.summary() == {"id": "ds_1", "slug": "d", "uploaded_at": AT, "size": None, "content_type": None}


def test_unknown_size_does_not_match():
    """With a minimum size, an upload only matches if the platform shows its size."""
    condition = UploadCondition(DatasetRef("ds_1"), min_size=1)
    assert not condition.matches(last_upload(record(uploaded_at=AT)))
    assert condition.matches(last_upload(record(uploaded_at=AT, size=1)))


@pytest.mark.parametrize("text", ["", "soon", None, 5, "2026-13-01", {}])
def test_not_a_timestamp(text):
    """Anything that is not a timestamp is None."""
    assert parse_timestamp(text) is None


@pytest.mark.parametrize("timestamp", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "soon"])
def test_source_timestamp_that_is_out_of_range(timestamp):
    """A timestamp outside of the years 1 to 9999 in UTC is rejected, as anything that is not a timestamp."""
    with pytest.raises(PolyteiaConfigurationError, match="must be an ISO 8601 timestamp"):
        format_source_timestamp(timestamp)
