"""The web pages of the sandbox."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow.parquet as pq
import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, SANDBOX_WORKSPACE_ID

CSV = b"id,name\n1,<script>alert(1)</script>\n2,b\n"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>"


def page(sandbox, path="/", **headers):
    return requests.get(sandbox.base_url + path, headers=headers, timeout=10)


def section(sandbox, title):
    """Return the HTML of one section of the start page."""
    found = re.search(rf"<h2[^>]*>{title}.*?</h2>(.*?)(<h2|</main>)", page(sandbox).text, re.DOTALL)
    assert found, title
    return found[1]


def cells(html):
    """Return the text of the cells of each row in a part of a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<button.*?</button>|<[^>]*>", "", cell) for cell in row] for row in found]


def all_pages(sandbox, dataset_id):
    paths = ["/", f"/ui/datasets/{dataset_id}", f"/ui/solutions/{SANDBOX_SOLUTION_ID}"]
    paths.append(f"/ui/workspaces/{SANDBOX_WORKSPACE_ID}")
    return [page(sandbox, path) for path in paths]


def test_pages_show_escaped_content(sandbox, api):
    """The pages show datasets, metadata and first rows. Markup in names and data is escaped."""
    dataset = api.new_dataset("page", name="<b>Bookings</b>", description="a & b")
    start_page = page(sandbox).text
    assert "Stadt Musterhausen" in start_page
    assert f'<a href="/ui/datasets/{dataset}">&lt;b&gt;Bookings&lt;/b&gt;</a>' in start_page
    assert "No data was uploaded yet" in page(sandbox, f"/ui/datasets/{dataset}").text
    api.upload(api.upload_token(dataset), CSV)
    shown = page(sandbox, f"/ui/datasets/{dataset}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "a &amp; b" in shown
    assert dataset in page(sandbox, f"/ui/solutions/{SANDBOX_SOLUTION_ID}").text
    assert SANDBOX_SOLUTION_ID in page(sandbox, f"/ui/workspaces/{SANDBOX_WORKSPACE_ID}").text
    everything = start_page + page(sandbox).text + shown
    assert "<b>Bookings" not in everything
    assert "<script>alert" not in everything
    assert re.search(r'(src|href)="https?:', everything) is None


def test_markup_is_escaped_in_every_field(sandbox, api):
    """Names, descriptions, sources, column names, values and calls do not add elements or attributes to a page."""
    dataset = api.new_dataset("hostile", name=HOSTILE, description=HOSTILE, source=HOSTILE)
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    api.upload(api.upload_token(dataset), f"{quoted},b\n{quoted},1\n".encode())
    api.command(HOSTILE)
    for response in all_pages(sandbox, dataset):
        assert response.text.count("<script>") == 1  # the page's own
        assert "<img" not in response.text


def test_markup_in_the_host_is_escaped(start):
    """Even if every host is allowed, markup in the Host header does not add elements to the page."""
    assert "<img" not in page(start(allowed_hosts=["*"]), Host="\"><img'>").text


def test_pages_allow_only_their_own_script(sandbox, dataset):
    """The policy of every page allows its own style sheet and script by their hashes, and nothing from elsewhere."""
    for response in all_pages(sandbox, dataset):
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert 'name="viewport"' in response.text


def test_the_start_page_of_a_new_sandbox(sandbox):
    """A new sandbox shows its solution, and that it has neither datasets nor uploads, requests or faults."""
    name, solution, solution_id, count, _ = cells(section(sandbox, "Stadt Musterhausen"))[1]
    assert (name, solution, solution_id, count) == ("Kämmerei", "Haushalt", SANDBOX_SOLUTION_ID, "0")
    assert "None yet." in section(sandbox, "Datasets")
    assert "None yet." in section(sandbox, "Last upload")
    assert "None." in section(sandbox, "Requests of the last 10 minutes")
    assert "Active faults" not in page(sandbox).text


def test_the_start_page_after_an_upload(sandbox, api):
    """The start page shows rows, size, column types and first rows of the latest upload, and counts the datasets."""
    older, newer = api.new_dataset("older", name="Older"), api.new_dataset("newer", name="Newer")
    api.upload(api.upload_token(newer), b"when,amount\n2026-03-01,1.5\n")
    assert " 27 B, 1 row, text/csv, " in section(sandbox, "Last upload")
    api.upload(api.upload_token(older), b"id,name\n" + b"".join(b"%d,a\n" % number for number in range(1500)))
    assert cells(section(sandbox, "Stadt Musterhausen"))[1][3] == "2"
    first, second = cells(section(sandbox, "Datasets"))[1:]
    assert first[:5] == ["Newer", "newer", newer, "27 B", "1"]
    assert second[:5] == ["Older", "older", older, "9.2 KiB", "1,500"]
    latest = section(sandbox, "Last upload")
    assert f'<a href="/ui/datasets/{older}">Older</a> 9.2 KiB, 1,500 rows, text/csv, <time>' in latest
    assert cells(latest) == [["idnumber", "nametext"], *([str(number), "a"] for number in range(5))]


def test_decimals_and_booleans(sandbox, api):
    """Decimals are aligned like other numbers, and keep their digits; booleans are those of JSON."""
    dataset = api.new_dataset()
    rows = duckdb.sql("SELECT 12.50::DECIMAL(12,2) AS amount, true AS paid, '1' AS code")
    content = io.BytesIO()
    pq.write_table(rows.to_arrow_table(), content)
    sandbox.upload(dataset, content.getvalue(), "application/vnd.apache.parquet")
    shown = page(sandbox, f"/ui/datasets/{dataset}").text
    assert '<td class="number"><div>12.50</div></td><td><div>true</div></td><td><div>1</div></td>' in shown


def test_as_of_time(sandbox, api):
    """The page of a dataset shows the as-of time of its data, with which sensors on the RPC API compare."""
    dataset = api.new_dataset()
    row = r"As-of time</th>\s*<td[^>]*>(.*?)</td>"
    assert "2026" not in re.search(row, page(sandbox, f"/ui/datasets/{dataset}").text)[1]
    sandbox.upload(dataset, CSV, source_timestamp="2026-03-01T06:00:00Z")
    shown = re.search(row, page(sandbox, f"/ui/datasets/{dataset}").text)[1]
    assert "<time>2026-03-01 06:00:00 UTC</time>" in shown


def test_the_start_page_after_a_fault(sandbox, api):
    """The start page shows requests, newest first, with the faults that were applied, and the active faults."""
    sandbox.faults.add("create_dataset:drop-after:1", "get_dataset:status:503:2")
    with pytest.raises(requests.ConnectionError):
        api.new_dataset()
    for _ in range(2):
        api.query("get_dataset", id="ds_1")
    api.command("secret_in_a_name")
    rows = [row[1:4] for row in cells(section(sandbox, "Requests of the last 10 minutes"))[1:]]
    assert rows == [
        ["POST (not an API call)", "200, error 404", "-"],
        ["get_dataset", "503", "get_dataset:status:503:2"],
        ["get_dataset", "200, error 404", "-"],
        ["create_dataset", "no response", "create_dataset:drop-after:1"],
    ]
    assert cells(section(sandbox, "Active faults"))[1:] == [
        ["create_dataset:drop-after:1", "1", "1"],
        ["get_dataset:status:503:2", "2", "1"],
    ]
    assert "secret_in_a_name" not in page(sandbox).text


def test_old_requests_are_not_shown(sandbox, api):
    """Only the requests of the last ten minutes are shown, at most 50 of them."""
    for _ in range(60):
        api.query("get_dataset", id="ds_1")
    assert "and 10 earlier requests" in section(sandbox, "Requests of the last")
    for request in sandbox.requests[:-1]:
        request.received_at = datetime.now(UTC) - timedelta(minutes=11)
    assert len(cells(section(sandbox, "Requests of the last"))) == 2


@pytest.mark.parametrize(("served", "organization"), [("command", ""), ("rpc", SANDBOX_ORGANIZATION_ID)])
def test_the_connection_can_be_copied(served, organization, start):
    """The start page has buttons that copy the connection, its fields, and the ids."""
    sandbox = start(api=served)
    copied = re.findall(r'data-copy="([^"]*)"', page(sandbox).text)
    connection = sandbox.airflow_connection().replace('"', "&quot;")
    assert copied[0] == f"export AIRFLOW_CONN_POLYTEIA_DEFAULT=&#x27;{connection}&#x27;"
    host, _, port = sandbox.base_url.rpartition(":")
    assert copied[1:4] == [host, port, sandbox.pak]
    pattern = f"{sandbox.base_url}/ui/datasets/{{dataset_id}}"
    assert copied[4:] == [*filter(None, [organization]), pattern, SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID]


def test_only_the_well_known_key_is_shown(start, connect):
    """The pages do not show keys with which the sandbox was started, nor the tokens of requests."""
    sandbox = start(paks=["pak_SECRET"], read_only_paks=["pak_READER"])
    api = connect(sandbox)
    dataset = api.new_dataset()
    token = api.upload_token(dataset)
    api.upload(token, CSV)
    everything = "".join(response.text for response in all_pages(sandbox, dataset))
    assert not [secret for secret in ("pak_SECRET", "pak_READER", token) if secret in everything]
    assert "&lt;your key&gt;" in everything


def test_the_connection_has_the_address_of_the_browser(start):
    """The connection contains the host at which the browser reaches the sandbox."""
    sandbox = start(allowed_hosts=["sandbox"])
    shown = page(sandbox, Host="sandbox:8765").text
    assert "&quot;host&quot;: &quot;http://sandbox:8765&quot;" in shown
    for value in ("http://sandbox", "8765", "http://sandbox:8765/ui/datasets/{dataset_id}"):
        assert f"<code>{value}</code>" in shown
    assert "Port" not in page(sandbox, Host="sandbox").text


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
    for path in ("/", f"/ui/datasets/{dataset}"):
        shown = page(sandbox, path).text
        assert "No rows to show" in shown
        assert str(sandbox.platform.files.root) not in shown


@pytest.mark.parametrize(("served", "title"), [("command", "command API"), ("rpc", "RPC API")])
def test_the_start_page_names_the_api(served, title, start):
    """The start page states which API is served."""
    assert f"It serves the {title}." in page(start(api=served)).text
