"""Requests that pages of other sites could make a browser send: rejected on both APIs, pages and controls."""

from __future__ import annotations

import http.client
import socket

import pytest
import requests

from airflow_provider_polyteia.sandbox.request_guard import ServedHosts

FAULT = '{"faults": ["*:status:503"]}'
REBOUND = "attacker.example"


def send(sandbox, method, path, body="", **headers):
    """Send a request with any headers, and return its status."""
    connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


def own_origin(sandbox):
    return sandbox.base_url


@pytest.mark.parametrize("served", ["command", "rpc"])
@pytest.mark.parametrize("path", ["/", "/ui/datasets/ds_1", "/_sandbox/state", "/api", "/rpc/auth", "/upload", "/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_other_hosts_are_refused(served, path, method, start):
    """A name that an attacker points to the loopback address is rejected on every path, and nothing is recorded."""
    sandbox = start(api=served)
    for host in (REBOUND, f"{REBOUND}:80", f"localhost.{REBOUND}", "192.0.2.1", "", "[::1", f"{REBOUND}/localhost"):
        assert send(sandbox, method, path, Host=host) in (400, 421)  # 400: the server rejects a malformed header
    assert sandbox.requests == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "a.localhost", "127.0.0.1", "127.9.9.9:80", "[::1]:8765"])
def test_loopback_hosts_are_served(host, sandbox):
    """Loopback names and addresses are served, whatever the port."""
    assert send(sandbox, "GET", "/_sandbox/state", Host=host) == 200


def test_the_refusal_explains_the_option(sandbox):
    """The response names the host, and the option that allows it."""
    response = requests.get(f"{sandbox.base_url}/", headers={"Host": REBOUND}, timeout=10)
    assert response.status_code == 421
    assert REBOUND in response.text
    assert "--allowed-host" in response.text


@pytest.mark.parametrize(("allowed", "status"), [(["sandbox"], 200), (["SANDBOX:1"], 200), (["*"], 200), (["x"], 421)])
def test_hosts_can_be_allowed(allowed, status, start):
    """Other names are served if the sandbox was started with them, such as those of containers."""
    assert send(start(allowed_hosts=allowed), "GET", "/_sandbox/state", Host="sandbox:8765") == status


def test_the_host_to_listen_on_is_served(start):
    """The host with which the sandbox was started is served, and `base_url` is correct with IPv6."""
    for host in ("localhost", "127.0.0.2"):
        assert requests.get(f"{start(host=host).base_url}/_sandbox/state", timeout=10).ok
    sandbox = start(host="0.0.0.0")  # noqa: S104 - the test is about it
    port = sandbox.base_url.rpartition(":")[2]
    assert send(sandbox, "GET", "/_sandbox/state", Host=f"192.0.2.1:{port}") == 200  # any address, but not any name
    assert send(sandbox, "GET", "/_sandbox/state", Host=REBOUND) == 421


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6(start):
    """The base URL of an IPv6 address has brackets."""
    try:
        sandbox = start(host="::1")
    except OSError:
        pytest.skip("this machine does not have IPv6")
    assert sandbox.base_url.startswith("http://[::1]:")
    assert requests.get(f"{sandbox.base_url}/_sandbox/state", timeout=10).ok


def test_hosts():
    """Hosts are compared without port, case and final dot."""
    hosts = ServedHosts(["Polyteia.Test.", "fe80::1"])
    assert all(host in hosts for host in ("polyteia.test", "POLYTEIA.test.:80", "[fe80::1]:8765"))
    assert not any(host in hosts for host in ("test", "a@polyteia.test", "polyteia.test/x", "10.0.0.1", " "))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "own"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://attacker.example"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/_sandbox/faults"), ("DELETE", "/_sandbox/faults"), ("DELETE", "/_sandbox/requests")]
)
def test_pages_of_other_sites_cannot_control_the_sandbox(method, path, headers, sandbox, api):
    """A form or script of another page can neither add nor remove faults, nor reset the counts."""
    api.new_dataset()
    sandbox.faults.add("get_dataset:status:500")
    headers = {name: own_origin(sandbox) if value == "own" else value for name, value in headers.items()}
    assert send(sandbox, method, path, FAULT, Content_Type="text/plain", **headers) == 403
    assert [fault.spec for fault in sandbox.faults.active] == ["get_dataset:status:500"]
    assert sandbox.count("create_dataset") == 1


@pytest.mark.parametrize(
    "headers", [{}, {"Sec_Fetch_Site": "same-origin", "Origin": "own"}, {"Sec_Fetch_Site": "none"}]
)
def test_other_programs_and_own_pages_can_control_the_sandbox(headers, sandbox):
    """Programs that are not browsers, and pages of the sandbox, are served."""
    headers = {name: own_origin(sandbox) if value == "own" else value for name, value in headers.items()}
    assert send(sandbox, "POST", "/_sandbox/faults", FAULT, **headers) == 200
    assert send(sandbox, "DELETE", "/_sandbox/faults", **headers) == 200


def test_reads_and_api_calls_of_other_sites_are_served_as_by_the_platform(sandbox, api):
    """The browser does not show the response to the page, and an API call needs a key that the page does not have."""
    assert send(sandbox, "GET", "/_sandbox/state", Origin="http://attacker.example") == 200
    api.session.headers["Origin"] = "http://attacker.example"
    assert api.new_dataset()
