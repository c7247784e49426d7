"""Datasets as Airflow assets: their URIs, and what Airflow and OpenLineage call them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_polyteia.assets import polyteia
from airflow_provider_polyteia.assets.polyteia import polyteia_asset

ID = "ds_d2k7p8f4c5v1s8h3q9v0"


@pytest.mark.parametrize(
    ("host", "netloc"),
    [
        ("app.polyteia.com", "app.polyteia.com"),
        ("APP.Polyteia.com", "app.polyteia.com"),
        ("https://app.polyteia.com", "app.polyteia.com"),
        ("https://app.polyteia.com:443", "app.polyteia.com"),
        ("https://app.polyteia.com/api", "app.polyteia.com"),
        ("app.polyteia.com:8443", "app.polyteia.com:8443"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_all_spellings_of_a_host_give_the_same_uri(host, netloc):
    """Whether the host or the URL of the connection is given, the asset of a dataset has one URI."""
    assert polyteia_asset(ID, host=host).uri == f"polyteia://{netloc}/{ID}"


def test_default_host():
    """The default host is the platform's own, as in the connection."""
    assert polyteia_asset(ID).uri == f"polyteia://app.polyteia.com/{ID}"


def test_airflow_uses_the_handler():
    """Airflow itself converts a URI to its canonical form, so that producers and consumers share one asset."""
    assert Asset(uri=f"polyteia://App.Polyteia.com/{ID}/").uri == f"polyteia://app.polyteia.com/{ID}"


@pytest.mark.parametrize(
    "uri",
    [
        "polyteia://",
        "polyteia://app.polyteia.com",
        f"polyteia:///{ID}",
        "polyteia://app.polyteia.com/bookings",
        f"polyteia://app.polyteia.com/sol_1/{ID}",
        f"polyteia://app.polyteia.com/{ID}?x=1",
        f"polyteia://app.polyteia.com/{ID}#x",
        f"polyteia://user@app.polyteia.com/{ID}",
    ],
)
def test_invalid_uris(uri):
    """The error shows the form of a valid URI."""
    with pytest.raises(ValueError, match="polyteia://<host>/<dataset id>"):
        polyteia.sanitize_uri(urlsplit(uri))


@pytest.mark.parametrize("dataset_id", ["", "bookings", "ds_1/ds_2", "ds_ü"])
def test_invalid_ids(dataset_id):
    """A slug or an empty string is not the id of a dataset."""
    with pytest.raises(ValueError, match="polyteia://"):
        polyteia_asset(dataset_id)


def test_factory_keeps_the_extra():
    """The extra that hook lineage passes is stored with the asset."""
    asset = polyteia.create_asset(host="h", dataset_id=ID, extra={"rows": 3})
    assert (asset.uri, asset.extra) == (f"polyteia://h/{ID}", {"rows": 3})


def test_openlineage_name(monkeypatch):
    """For OpenLineage, the namespace is the platform and the name is the dataset's id."""
    facet = pytest.importorskip("airflow.providers.common.compat.openlineage.facet")
    monkeypatch.setattr(facet, "Dataset", lambda **parts: parts)
    named = polyteia.convert_asset_to_openlineage(polyteia_asset(ID), None)
    assert named == {"namespace": "polyteia://app.polyteia.com", "name": ID}
