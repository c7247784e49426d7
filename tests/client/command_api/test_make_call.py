"""Calls are checked before anything is sent."""

from __future__ import annotations

from collections import UserDict, UserList
from datetime import date
from decimal import Decimal

import pytest

from airflow_provider_polyteia.client.command_api.methods import METHODS
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.client.operation import Idempotency
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError


@pytest.mark.parametrize("name", ["", "  ", None, 5])
def test_empty_name(name):
    """A command without a name is rejected."""
    with pytest.raises(PolyteiaConfigurationError, match="The command name is empty"):
        make_call("command", name)


@pytest.mark.parametrize("name", [" create_tag", "create_tag\n", "create tag", "\ud800"])
def test_name_with_whitespace(name):
    """A name with whitespace is rejected, because it would be a different command than it looks like."""
    with pytest.raises(PolyteiaConfigurationError, match="contains whitespace or non-printable characters"):
        make_call("command", name)


@pytest.mark.parametrize("params", ["x", 5, ["a"], b"x"])
def test_params_must_be_a_mapping(params):
    """Params that are not a mapping are rejected, and the exception names their type."""
    with pytest.raises(PolyteiaConfigurationError, match=f"of type {type(params).__name__}; they must be a mapping"):
        make_call("command", "create_tag", params)


def test_kind_must_match():
    """A known command cannot be sent as a query, nor a query as a command."""
    with pytest.raises(PolyteiaConfigurationError, match="'create_dataset' is a command, not a query"):
        make_call("query", "create_dataset")
    with pytest.raises(PolyteiaConfigurationError, match="'get_dataset' is a query, not a command"):
        make_call("command", "get_dataset")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"a": {"b": [1, date(2026, 1, 1)]}}, r"parameters\['a'\]\['b'\]\[1\] is of type date, which"),
        ({"a": Decimal(1)}, r"parameters\['a'\] is of type Decimal"),
        ({"a": [float("nan")]}, r"parameters\['a'\]\[0\] is nan"),
        ({"a": b"x"}, r"parameters\['a'\] is of type bytes"),
        ({"a": {1: 2}}, r"parameters\['a'\] has a key of type int"),
        ({"a": {"x", "y"}}, r"parameters\['a'\] is of type set"),
        ({"a": "\ud800"}, r"parameters\['a'\] contains an unpaired surrogate"),
        ({"a": object()}, r"parameters\['a'\] is of type object"),
        ({"a": 10**5000}, r"parameters\['a'\] is too large to be sent as JSON .16610 bits"),
    ],
)
def test_params_that_are_not_json(params, path):
    """The exception names the command and the path to the value that JSON cannot represent."""
    with pytest.raises(PolyteiaConfigurationError, match=path) as caught:
        make_call("command", "create_tag", params)
    assert "'create_tag' cannot be sent" in str(caught.value)


def test_recursive_params():
    """Params that contain themselves are rejected, not followed indefinitely."""
    params = {}
    params["a"] = params
    with pytest.raises(PolyteiaConfigurationError, match="is recursive"):
        make_call("command", "create_tag", params)


def test_mappings_and_sequences_of_any_kind():
    """Lazy sequences and mappings, as Airflow passes them between tasks, become plain JSON."""
    call = make_call("command", "create_tag", UserDict({"a": UserList([1, (2, "ü")])}))
    assert call.params == {"a": [1, [2, "ü"]]}


def test_unknown_methods():
    """An unknown query is idempotent, an unknown command is not, unless the caller says so."""
    assert make_call("query", "list_unknown").idempotency is Idempotency.SAFE
    assert make_call("command", "do_something").idempotency is Idempotency.NONE
    assert make_call("command", "do_something", idempotent=True).idempotency is Idempotency.SAFE
    assert make_call("command", "update_dataset", idempotent=False).idempotency is Idempotency.NONE
    assert make_call("command", "delete_dataset", idempotent=True).idempotency is Idempotency.DELETES


@pytest.mark.parametrize("value", ["false", 0, 1, ""])
def test_idempotent_must_be_a_boolean(value):
    """A string such as 'false', which is true for Python, does not make a write idempotent."""
    with pytest.raises(PolyteiaConfigurationError, match="'idempotent' of 'create_tag' is"):
        make_call("command", "create_tag", {}, idempotent=value)


def test_every_known_method_is_consistent():
    """Queries are idempotent, creates are not, a retried delete may fail with 404; paths begin with /api."""
    for name, method in METHODS.items():
        assert method.path.startswith("/api")
        assert method.kind == ("query" if name.startswith(("get_", "list_")) else "command")
        if method.kind == "query":
            assert method.idempotency is Idempotency.SAFE
        if name.startswith(("create_", "invite_")):
            assert method.idempotency is Idempotency.NONE
        if name.startswith(("delete_", "remove_")):
            assert method.idempotency is Idempotency.DELETES


def test_identifiers_contain_no_content():
    """The identifiers of a call are ids, slug and name, nothing else."""
    call = make_call("command", "create_dataset", {"solution_id": "sol_1", "slug": "s", "name": "n", "source": "x"})
    assert call.identifiers == {"solution_id": "sol_1", "slug": "s", "name": "n"}
