"""Faults: their grammar, which calls they strike, and what the client meets on a real socket."""

from __future__ import annotations

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
def test_connections_are_lost_without_a_byte(kind, error, applied, api, sandbox):
    """Dropped, the client sees a reset; closed, an end without an answer; before: nothing done, after: done."""
    sandbox.faults.add(f"create_dataset:{kind}-{'after' if applied else 'before'}:1")
    with pytest.raises(requests.ConnectionError, match=error):
        create(api)
    assert slugs(sandbox) == (["s"] if applied else [])
    assert create(api, "next").json()["data"]["slug"] == "next"


@pytest.mark.parametrize("applied", [False, True])
def test_hanging_gives_no_answer(applied, api, sandbox):
    """The connection stays open without a byte for the time said, and is reset then."""
    sandbox.faults.add(f"create_dataset:{'hang-after' if applied else 'hang'}:0.2")
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        create(api)
    assert 0.2 <= time.monotonic() - started < 2
    assert slugs(sandbox) == (["s"] if applied else [])


def test_a_hanging_call_ends_with_its_client_and_with_the_sandbox(start, connect):
    """A client may leave a hanging call, and a sandbox with one stops at once."""
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
        ("redirect", 302, "", False),
        ("redirect-after", 302, "", True),
        ("retry-after:7", 429, "text/plain", False),
        ("unavailable:7", 503, "text/plain", False),
        ("unavailable-after:7", 503, "text/plain", True),
    ],
)
def test_wrong_answers(kind, status, content_type, applied, api, sandbox):
    """Each kind answers as it says, and applies the call only if it is one of the 'after' kinds."""
    sandbox.faults.add(f"create_dataset:{kind}:1")
    call = {"command": "create_dataset", "params": {"name": "x", "slug": "s", "solution_id": SANDBOX_SOLUTION_ID}}
    answer = api.send("POST", "/api", json=call, allow_redirects=False)
    assert answer.status_code == status
    assert answer.headers.get("Content-Type", "").startswith(content_type)
    assert slugs(sandbox) == (["s"] if applied else [])
    if kind.startswith("body-error"):
        assert answer.json()["error"]["code"] == 500
    if kind.startswith("garbage"):
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
    if "7" in kind:
        assert answer.headers["Retry-After"] == "7"
    assert (sandbox.requests[-1].fault, sandbox.requests[-1].status) == (f"create_dataset:{kind}:1", status)


@pytest.mark.parametrize(("kind", "status"), [("retry-after-date", 429), ("unavailable-date", 503)])
def test_retry_after_can_be_a_date(kind, status, api, sandbox):
    """`Retry-After` comes as an HTTP date that lies so many seconds ahead."""
    sandbox.faults.add(f"*:{kind}:90:1")
    answer = create(api)
    assert answer.status_code == status
    ahead = parsedate_to_datetime(answer.headers["Retry-After"]).timestamp() - time.time()
    assert 85 < ahead <= 90


def test_every_kind_can_strike(sandbox):
    """No kind is only a word: each is accepted for the downloads or uploads it may be for."""
    arguments = {"status": ":503", "status-after": ":503", "drop-at": ":50", "slow": ":9", "short": ""}
    for kind in KINDS:
        argument = arguments.get(kind, ":1" if kind.startswith(("hang", "retry", "unav", "body")) else "")
        sandbox.faults.add(f"/download:{kind}{argument}")
    assert {fault.kind for fault in sandbox.faults} == KINDS


def test_answers_can_trickle(api, sandbox):
    """A slow answer is the right one, at about the rate said."""
    sandbox.faults.add("create_dataset:slow:2000:1")
    started = time.monotonic()
    answer = create(api)
    elapsed = time.monotonic() - started
    assert answer.json()["data"]["slug"] == "s"
    assert len(answer.content) / 2000 * 0.9 < elapsed < 3


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_uploads_can_break_off(percent, api, sandbox):
    """An upload cut at any share is a broken connection for the client and leaves the data as it was."""
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), b"old\n1\n")
    sandbox.faults.add(f"/upload:drop-at:{percent}:1")
    with pytest.raises(requests.ConnectionError):
        api.upload(api.upload_token(dataset), CONTENT)
    assert sandbox.content(dataset) == b"old\n1\n"
    assert api.upload(api.upload_token(dataset), CONTENT).status_code == 200
    assert sandbox.content(dataset) == CONTENT


@pytest.mark.parametrize("kind", ["drop-after", "status-after:504"])
def test_an_upload_can_be_applied_and_its_answer_lost(kind, api, sandbox):
    """After the last byte the data is there, whatever the client hears."""
    dataset = api.new_dataset()
    sandbox.faults.add(f"/upload:{kind}")
    try:
        assert api.upload(api.upload_token(dataset), CONTENT).status_code == 504
    except requests.ConnectionError:
        assert kind == "drop-after"
    assert sandbox.content(dataset) == CONTENT


def test_an_upload_refused_early_can_be_heard(api, sandbox):
    """The whole body is read before a wrong answer, so that the client gets it."""
    dataset = api.new_dataset()
    sandbox.faults.add("/upload:status:413:1")
    assert api.upload(api.upload_token(dataset), CONTENT).status_code == 413
    assert sandbox.datasets[0]["data"] is None


def test_uploads_can_be_slow(api, sandbox):
    """The sandbox reads a slow upload at about the rate said."""
    dataset = api.new_dataset()
    sandbox.faults.add("/upload:slow:3000000:1")
    started = time.monotonic()
    assert api.upload(api.upload_token(dataset), CONTENT).status_code == 200
    assert 0.25 < time.monotonic() - started < 5


@pytest.fixture
def download(api, sandbox):
    """Start downloading a file under a fault; gives the announced length and what arrived, or the error."""

    def run(fault):
        dataset = api.new_dataset()
        sandbox.upload(dataset, CONTENT)
        token = api.export_token(f"FROM {dataset}", [dataset], "text/csv")
        sandbox.faults.add(f"/download:{fault}:1")
        answer = api.send("GET", "/download", params={"token": token}, stream=True)
        received = bytearray()
        try:
            for part in answer.iter_content(4096):
                received += part
        except requests.RequestException as error:
            return int(answer.headers["Content-Length"]), bytes(received), error
        return int(answer.headers["Content-Length"]), bytes(received), None

    return run


@pytest.mark.parametrize("percent", [1, 50, 99])
def test_downloads_can_break_off(percent, download):
    """A download cut at a share announces its full length, delivers no more than the share, and is reset."""
    announced, received, error = download(f"drop-at:{percent}")
    assert announced == len(CONTENT)
    assert len(received) <= len(CONTENT) * percent / 100
    assert CONTENT.startswith(received)
    assert isinstance(error, requests.RequestException)


def test_downloads_can_end_early(download):
    """A short download announces all, delivers half, and closes in order."""
    announced, received, error = download("short")
    assert announced == len(CONTENT)
    assert len(CONTENT) // 2 - 4096 <= len(received) <= len(CONTENT) // 2  # the last piece is lost to the reader
    assert isinstance(error, requests.exceptions.ChunkedEncodingError)


def test_downloads_can_announce_the_wrong_length(download):
    """With the wrong length half a file arrives and looks complete to HTTP."""
    announced, received, error = download("wrong-length")
    assert (announced, len(received), error) == (len(CONTENT) // 2, len(CONTENT) // 2, None)


def test_a_lost_download_has_used_up_its_token(api, sandbox):
    """After `drop-after` the export was produced: a repeat needs a fresh token."""
    dataset = api.new_dataset()
    sandbox.upload(dataset, b"a\n1\n")
    token = api.export_token(f"FROM {dataset}", [dataset])
    sandbox.faults.add("/download:drop-after:1")
    with pytest.raises(requests.ConnectionError):
        api.download(token)
    assert api.download(token).json()["error"]["code"] == 404


def test_faults_strike_a_single_call_of_a_busy_sandbox(api, sandbox):
    """Other calls on the same connection and on others go on undisturbed."""
    sandbox.faults.add("create_dataset:status:503:3")
    statuses = [create(api, f"s{number}").status_code for number in range(5)]
    assert statuses == [200, 200, 503, 200, 200]
    assert slugs(sandbox) == ["s0", "s1", "s3", "s4"]
