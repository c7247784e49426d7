"""The identity of a dataset as an Airflow asset."""

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
def test_one_identity_for_each_way_to_write_the_host(host, netloc):
    """Host or address of the connection: the asset of a dataset has one URI."""
    assert polyteia_asset(ID, host=host).uri == f"polyteia://{netloc}/{ID}"


def test_default_host():
    """Without a host the platform's own is meant, as in the connection."""
    assert polyteia_asset(ID).uri == f"polyteia://app.polyteia.com/{ID}"


def test_airflow_uses_the_handler():
    """Airflow itself brings a URI into its one form, so that producer and consumer mean the same asset."""
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
def test_what_names_no_dataset(uri):
    """The handler says how an asset is written."""
    with pytest.raises(ValueError, match="polyteia://<host>/<dataset id>"):
        polyteia.sanitize_uri(urlsplit(uri))


@pytest.mark.parametrize("dataset_id", ["", "bookings", "ds_1/ds_2", "ds_ü"])
def test_no_asset_of_what_is_no_id(dataset_id):
    """A slug, or nothing, is no id."""
    with pytest.raises(ValueError, match="polyteia://"):
        polyteia_asset(dataset_id)


def test_factory_keeps_the_extra():
    """What hook lineage knows of a write goes with the asset."""
    asset = polyteia.create_asset(host="h", dataset_id=ID, extra={"rows": 3})
    assert (asset.uri, asset.extra) == (f"polyteia://h/{ID}", {"rows": 3})


def test_openlineage_name(monkeypatch):
    """OpenLineage gets the platform as namespace and the dataset's id as name."""
    facet = pytest.importorskip("airflow.providers.common.compat.openlineage.facet")
    monkeypatch.setattr(facet, "Dataset", lambda **parts: parts)
    named = polyteia.convert_asset_to_openlineage(polyteia_asset(ID), None)
    assert named == {"namespace": "polyteia://app.polyteia.com", "name": ID}
