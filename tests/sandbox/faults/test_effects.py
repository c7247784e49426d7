"""What clients receive when a fault is applied, over real sockets."""

from __future__ import annotations

import gzip
import threading
import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID
from airflow_provider_polyteia.sandbox.faults.specs import KINDS

CONTENT = b"a\n" + b"1\n" * 500_000


def create(api, slug="s"):
    return api.command("create_dataset", name="x", slug=slug, solution_id=SANDBOX_SOLUTION_ID)


def create_in_vain(api):
    with pytest.raises(requests.ConnectionError):
        create(api)


def slugs(sandbox):
    return [dataset["slug"] for dataset in sandbox.records("dataset")]


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(("kind", "error"), [("drop", "reset by peer"), ("close", "without response")])
def test_connections_end_without_a_response(kind, error, applied, api, sandbox):
    """`drop` resets the connection and `close` closes it; only the `-after` kinds apply the call."""
    sandbox.faults.add(f"create_dataset:{kind}-{'after' if applied else 'before'}:1")
    with pytest.raises(requests.ConnectionError, match=error):
        create(api)
    assert slugs(sandbox) == (["s"] if applied else [])
    assert create(api, "next").json()["data"]["slug"] == "next"


@pytest.mark.parametrize("applied", [False, True])
def test_hanging_sends_no_response(applied, api, sandbox):
    """The connection stays open without a response for the given time, and is then reset."""
    sandbox.faults.add(f"create_dataset:{'hang-after' if applied else 'hang'}:0.2")
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        create(api)
    assert 0.2 <= time.monotonic() - started < 2
    assert slugs(sandbox) == (["s"] if applied else [])


def test_a_hanging_call_ends_with_its_client_and_with_the_sandbox(start, connect):
    """A client can disconnect from a hanging call, and a sandbox with a hanging call stops immediately."""
    sandbox = start(faults=["*:hang:60"])
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{sandbox.base_url}/api", json={"query": "get_dataset"}, timeout=0.1)
    thread = threading.Thread(target=create_in_vain, args=[connect(sandbox)])
    thread.start()
    while sandbox.count("create_dataset") == 0:
        time.sleep(0.01)
    started = time.monotonic()
    sandbox.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "applied"),
    [
        ("status:503", 503, "text/plain", False),
        ("status-after:502", 502, "text/plain", True),
        ("status:401", 401, "application/json", False),
        ("body-error:500", 200, "application/json", False),
        ("body-error-after:500", 200, "application/json", True),
        ("garbage", 200, "application/json", False),
        ("garbage-after", 200, "application/json", True),
        ("html", 200, "text/html", False),
        ("html-after", 200, "text/html", True),
        ("empty-after", 200, "", True),
        ("no-content-after", 204, "", True),
        ("null-after", 200, "application/json", True),
        ("text-after", 200, "text/plain", True),
        ("redirect", 302, "", False),
        ("redirect-after", 302, "", True),
        ("retry-after:7", 429, "text/plain", False),
        ("unavailable:7", 503, "text/plain", False),
        ("unavailable-after:7", 503, "text/plain", True),
    ],
)
def test_replaced_responses(kind, status, content_type, applied, api, sandbox):
    """Each kind sends its own response, and only the `-after` kinds apply the call."""
    sandbox.faults.add(f"create_dataset:{kind}:1")
    call = {"command": "create_dataset", "params": {"name": "x", "slug": "s", "solution_id": SANDBOX_SOLUTION_ID}}
    response = api.send("POST", "/api", json=call, allow_redirects=False)
    assert response.status_code == status
    assert response.headers.get("Content-Type", "").startswith(content_type)
    assert slugs(sandbox) == (["s"] if applied else [])
    if kind.startswith("body-error"):
        assert response.json()["error"]["code"] == 500
    if kind.startswith("garbage"):
        with pytest.raises(requests.JSONDecodeError):
            response.json()
    if "7" in kind:
        assert response.headers["Retry-After"] == "7"
    assert (sandbox.requests[-1].fault, sandbox.requests[-1].status) == (f"create_dataset:{kind}:1", status)


@pytest.mark.parametrize(("kind", "status"), [("retry-after-date", 429), ("unavailable-date", 503)])
def test_retry_after_can_be_a_date(kind, status, api, sandbox):
    """`Retry-After` can be an HTTP date, the given number of seconds in the future."""
    sandbox.faults.add(f"*:{kind}:90:1")
    response = create(api)
    assert response.status_code == status
    ahead = parsedate_to_datetime(response.headers["Retry-After"]).timestamp() - time.time()
    assert 85 < ahead <= 90


def test_every_kind_can_be_added(sandbox):
    """Every kind of fault of the command API is accepted for downloads."""
    arguments = {"status": ":503", "status-after": ":503", "drop-at": ":50", "slow": ":9", "short": ""}
    kinds = {kind for kind in KINDS if not kind.startswith("ingest-")}
    for kind in kinds:
        argument = arguments.get(kind, ":1" if kind.startswith(("hang", "retry", "unav", "body", "huge")) else "")
        sandbox.faults.add(f"/download:{kind}{argument}")
    assert {fault.kind for fault in sandbox.faults} == kinds


def test_responses_can_be_slow(api, sandbox):
    """A slow response is complete, and is sent at about the given rate."""
    sandbox.faults.add("create_dataset:slow:2000:1")
    started = time.monotonic()
    response = create(api)
    elapsed = time.monotonic() - started
    assert response.json()["data"]["slug"] == "s"
    assert len(response.content) / 2000 * 0.9 < elapsed < 3


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_uploads_can_be_interrupted(percent, api, sandbox):
    """If an upload is interrupted after any share, the client gets a connection error and the data is unchanged."""
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), b"old\n1\n")
    sandbox.faults.add(f"/upload:drop-at:{percent}:1")
    with pytest.raises(requests.ConnectionError):
        api.upload(api.upload_token(dataset), CONTENT)
    assert sandbox.content(dataset) == b"old\n1\n"
    assert api.upload(api.upload_token(dataset), CONTENT).status_code == 200
    assert sandbox.content(dataset) == CONTENT


@pytest.mark.parametrize("kind", ["drop-after", "status-after:504"])
def test_an_upload_can_be_applied_and_its_response_lost(kind, api, sandbox):
    """The uploaded data is stored even though the response is lost or an error."""
    dataset = api.new_dataset()
    sandbox.faults.add(f"/upload:{kind}")
    try:
        assert api.upload(api.upload_token(dataset), CONTENT).status_code == 504
    except requests.ConnectionError:
        assert kind == "drop-after"
    assert sandbox.content(dataset) == CONTENT


def test_a_rejected_upload_is_received_completely(api, sandbox):
    """The body is received completely before an error response, so that the client can read the response."""
    dataset = api.new_dataset()
    sandbox.faults.add("/upload:status:413:1")
    assert api.upload(api.upload_token(dataset), CONTENT).status_code == 413
    assert sandbox.datasets[0]["data"] is None


def test_uploads_can_be_slow(api, sandbox):
    """A slow upload is received at about the given rate."""
    dataset = api.new_dataset()
    sandbox.faults.add("/upload:slow:3000000:1")
    started = time.monotonic()
    assert api.upload(api.upload_token(dataset), CONTENT).status_code == 200
    assert 0.25 < time.monotonic() - started < 5


@pytest.fixture
def download(api, sandbox):
    """Download a file with a fault; return the announced length, the received bytes and the error, if any."""

    def run(fault):
        dataset = api.new_dataset()
        sandbox.upload(dataset, CONTENT)
        token = api.export_token(f"FROM {dataset}", [dataset], "text/csv")
        sandbox.faults.add(f"/download:{fault}:1")
        response = api.send("GET", "/download", params={"token": token}, stream=True)
        received = bytearray()
        try:
            for part in response.iter_content(4096):
                received += part
        except requests.RequestException as error:
            return int(response.headers["Content-Length"]), bytes(received), error
        return int(response.headers["Content-Length"]), bytes(received), None

    return run


@pytest.mark.parametrize("percent", [1, 50, 99])
def test_downloads_can_be_interrupted(percent, download):
    """An interrupted download announces its full length, sends at most the given share, and is reset."""
    announced, received, error = download(f"drop-at:{percent}")
    assert announced == len(CONTENT)
    assert len(received) <= len(CONTENT) * percent / 100
    assert CONTENT.startswith(received)
    assert isinstance(error, requests.RequestException)


def test_downloads_can_end_early(download):
    """A short download announces its full length, sends half of it, and closes the connection."""
    announced, received, error = download("short")
    assert announced == len(CONTENT)
    assert len(CONTENT) // 2 - 4096 <= len(received) <= len(CONTENT) // 2  # the client discards an incomplete part
    assert isinstance(error, requests.exceptions.ChunkedEncodingError)


def test_downloads_can_announce_the_wrong_length(download):
    """With `wrong-length` half of the file is received as a complete response."""
    announced, received, error = download("wrong-length")
    assert (announced, len(received), error) == (len(CONTENT) // 2, len(CONTENT) // 2, None)


@pytest.mark.parametrize(("kind", "status", "size"), [("partial", 206, len(CONTENT) // 2), ("no-bytes", 200, 0)])
def test_downloads_can_be_parts_of_a_file(kind, status, size, api, sandbox):
    """A part is sent as if it were all, with HTTP 206, or nothing with HTTP 200."""
    response = api.send("GET", "/download", params={"token": export_with(api, sandbox, kind)})
    assert (response.status_code, response.headers["Content-Length"]) == (status, str(size))
    assert response.content == CONTENT[:size]


def test_downloads_can_have_no_length(api, sandbox):
    """With `unframed`, half of the file arrives, and only the end of the connection ends it."""
    response = api.send("GET", "/download", params={"token": export_with(api, sandbox, "unframed")})
    assert not {"Content-Length", "Transfer-Encoding"} & set(response.headers)
    assert response.content == CONTENT[: len(CONTENT) // 2]


def test_downloads_can_be_damaged_gzip(api, sandbox):
    """With `gzip-short`, the gzip stream ends early, but the announced length is right."""
    response = api.send("GET", "/download", params={"token": export_with(api, sandbox, "gzip-short")}, stream=True)
    coded = response.raw.read(decode_content=False)
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(coded) == int(response.headers["Content-Length"])
    with pytest.raises(EOFError):
        gzip.decompress(coded)


def test_downloads_can_have_an_unknown_coding(api, sandbox):
    """With `unknown-coding`, clients do not know the content coding."""
    response = api.send("GET", "/download", params={"token": export_with(api, sandbox, "unknown-coding")})
    assert response.headers["Content-Encoding"] == "x-sandbox"


def test_responses_can_be_huge(api, sandbox):
    """With `huge`, the response is an error of this size; the call is not applied."""
    sandbox.faults.add("create_dataset:huge:3:1")
    response = create(api)
    assert response.status_code == 500
    assert 2.9 * 2**20 < len(response.content) <= 3 * 2**20
    assert sandbox.datasets == []


def test_responses_can_be_endless(api, sandbox):
    """With `endless`, the response never ends, until the client closes the connection."""
    sandbox.faults.add("create_dataset:endless:1")
    response = api.send("POST", "/api", json={"command": "create_dataset", "params": {}}, stream=True)
    assert sum(len(part) for _, part in zip(range(20), response.iter_content(2**20), strict=False)) == 20 * 2**20
    response.close()
    assert create(api).status_code == 200


def export_with(api, sandbox, kind):
    """Return the token of an export, whose download has a fault."""
    dataset = api.new_dataset()
    sandbox.upload(dataset, CONTENT)
    sandbox.faults.clear()
    sandbox.faults.add(f"/download:{kind}:1")
    return api.export_token(f"FROM {dataset}", [dataset], "text/csv")


def test_a_lost_download_has_consumed_its_token(api, sandbox):
    """After `drop-after` the token of the export is invalid."""
    dataset = api.new_dataset()
    sandbox.upload(dataset, b"a\n1\n")
    token = api.export_token(f"FROM {dataset}", [dataset])
    sandbox.faults.add("/download:drop-after:1")
    with pytest.raises(requests.ConnectionError):
        api.download(token)
    assert api.download(token).status_code == 404


def test_a_fault_does_not_affect_other_calls(api, sandbox):
    """Only the selected call is affected."""
    sandbox.faults.add("create_dataset:status:503:3")
    statuses = [create(api, f"s{number}").status_code for number in range(5)]
    assert statuses == [200, 200, 503, 200, 200]
    assert slugs(sandbox) == ["s0", "s1", "s3", "s4"]
