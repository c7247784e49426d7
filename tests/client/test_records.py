"""What a dataset's record says about its data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polyteia.client.records import Condition, last_upload, moment
from airflow_provider_polyteia.exceptions import PolyteiaProtocolError

AT = "2026-03-01T06:04:58.512000Z"


def record(**info):
    return {"id": "ds_1", "slug": "d", "metadata": {"asset_info": info}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["asset_info", "uploaded_at"]), inner),
    max_leaves=5,
)


@given(JSON)
def test_any_metadata(metadata):
    """Whatever stands in `metadata`, it is an upload, none, or a protocol error."""
    try:
        upload = last_upload({"id": "ds_1", "metadata": metadata})
    except PolyteiaProtocolError:
        return
    assert upload is None or upload.moment.tzinfo is not None


@pytest.mark.parametrize(
    "empty",
    [{"id": "ds_1"}, {"metadata": None}, {"metadata": {}}, {"metadata": {"asset_info": None}}, record(size=3)],
)
def test_no_upload_yet(empty):
    """Each level may be missing before the first upload (API reference 5.4)."""
    assert last_upload(empty) is None


def test_upload():
    """The summary holds the platform's own timestamp; what it does not say is None."""
    upload = last_upload(record(uploaded_at=AT))
    assert upload.moment == datetime(2026, 3, 1, 6, 4, 58, 512000, tzinfo=UTC)
    assert upload.summary() == {"id": "ds_1", "slug": "d", "uploaded_at": AT, "size": None, "content_type": None}


def test_size_that_is_not_known_is_not_big_enough():
    """Somebody who asks for a size waits until the platform tells one."""
    asked = Condition({"id": "ds_1"}, min_size=1)
    assert asked.met_by(record(uploaded_at=AT)) is None
    assert asked.met_by(record(uploaded_at=AT, size=1)) is not None


@pytest.mark.parametrize("text", ["", "soon", None, 5, "2026-13-01", {}])
def test_no_moment(text):
    """What is no timestamp is None."""
    assert moment(text) is None
