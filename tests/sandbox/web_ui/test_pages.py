"""The web pages of the sandbox."""

from __future__ import annotations

import re

import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, SANDBOX_WORKSPACE_ID

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"


def page(sandbox, path):
    return requests.get(sandbox.base_url + path, timeout=10)


def test_pages_show_escaped_content(sandbox, api):
    """The pages show datasets, metadata and first rows. Markup in names and data is escaped."""
    dataset = api.new_dataset("page", name="<b>Bookings</b>", description="a & b")
    start_page = page(sandbox, "/").text
    assert "Stadt Musterhausen" in start_page
    assert f'<a href="/ui/datasets/{dataset}">&lt;b&gt;Bookings&lt;/b&gt;</a>' in start_page
    assert "No data was uploaded yet" in page(sandbox, f"/ui/datasets/{dataset}").text
    api.upload(api.upload_token(dataset), CSV)
    shown = page(sandbox, f"/ui/datasets/{dataset}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "a &amp; b" in shown
    assert dataset in page(sandbox, f"/ui/solutions/{SANDBOX_SOLUTION_ID}").text
    assert SANDBOX_SOLUTION_ID in page(sandbox, f"/ui/workspaces/{SANDBOX_WORKSPACE_ID}").text
    everything = start_page + shown
    assert "<b>Bookings" not in everything
    assert "<script>" not in everything
    assert sandbox.pak not in everything
    assert re.search(r'(src|href)="https?:', everything) is None


@pytest.mark.parametrize("kind", ["datasets", "solutions", "workspaces"])
def test_pages_of_unknown_ids_are_404(kind, sandbox):
    """The page for an unknown id does not contain the id unescaped."""
    response = page(sandbox, f"/ui/{kind}/<b>x")
    assert response.status_code == 404
    assert "<b>x" not in response.text


def test_a_page_explains_missing_rows(sandbox, api):
    """The page of an unreadable file contains the cause, without local paths."""
    dataset = api.new_dataset()
    sandbox.upload(dataset, b"no parquet", "application/vnd.apache.parquet")
    shown = page(sandbox, f"/ui/datasets/{dataset}").text
    assert "No rows to show" in shown
    assert str(sandbox.platform.files.root) not in shown


@pytest.mark.parametrize(("served", "title"), [("command", "command API"), ("rpc", "RPC API")])
def test_the_start_page_names_the_api(served, title, start):
    """The start page states which API is served."""
    assert f"It serves the {title}." in page(start(api=served), "/").text
