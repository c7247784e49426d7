"""The pytest fixture, used like in a user's own tests."""

from __future__ import annotations

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["airflow_provider_polyteia.sandbox.pytest_plugin"]'

TESTS = """
    import json
    import os

    import requests

    from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

    def create(slug):
        connection = json.loads(os.environ["AIRFLOW_CONN_POLYTEIA_DEFAULT"])
        assert connection["conn_type"] == "polyteia"
        params = {"name": "x", "slug": slug, "solution_id": SANDBOX_SOLUTION_ID}
        return requests.post(
            connection["host"] + "/api",
            json={"command": "create_dataset", "params": params},
            headers={"Authorization": "Bearer " + connection["password"]},
            timeout=10,
        )

    def test_connection(polyteia_sandbox):
        assert create("a").status_code == 200
        assert polyteia_sandbox.count("create_dataset") == 1
        assert [dataset["slug"] for dataset in polyteia_sandbox.datasets] == ["a"]

    def test_faults(polyteia_sandbox):
        polyteia_sandbox.faults.add("create_dataset:status-after:502:1")
        assert create("a").status_code == 502
        assert len(polyteia_sandbox.datasets) == 1

    def test_nothing_is_left_over():
        assert "AIRFLOW_CONN_POLYTEIA_DEFAULT" not in os.environ
"""


def test_the_fixture_gives_each_test_a_new_sandbox(pytester, monkeypatch):
    """Each test gets its own sandbox and a connection to it; faults can be added; the environment is restored."""
    monkeypatch.delenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)


BOTH_APIS = """
    import pytest

    pytest_plugins = ["airflow_provider_polyteia.sandbox.pytest_plugin"]

    @pytest.fixture(params=["command", "rpc"])
    def polyteia_sandbox_api(request):
        return request.param
"""

API_TESTS = """
    import json
    import os

    from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID

    EXTRA = {"command": {"api": "command"}, "rpc": {"api": "rpc", "organization_id": SANDBOX_ORGANIZATION_ID}}

    def test_connection(polyteia_sandbox, polyteia_sandbox_api):
        assert polyteia_sandbox.options.api == polyteia_sandbox_api
        assert json.loads(os.environ["AIRFLOW_CONN_POLYTEIA_DEFAULT"])["extra"] == EXTRA[polyteia_sandbox_api]
"""


def test_the_fixture_can_be_run_with_both_apis(pytester):
    """A parametrized `polyteia_sandbox_api` runs a test once per API, with a connection that names the API."""
    pytester.makeconftest(BOTH_APIS)
    pytester.makepyfile(API_TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*[[]command[]]*PASSED*", "*[[]rpc[]]*PASSED*"])
