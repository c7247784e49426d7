"""Calls are checked before anything is sent."""

from __future__ import annotations

from collections import UserDict, UserList
from datetime import date
from decimal import Decimal

import pytest

from airflow_provider_polyteia.client.command_api.methods import METHODS
from airflow_provider_polyteia.client.command_api.protocol import make_call
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError


@pytest.mark.parametrize("name", ["", "  ", None, 5])
def test_empty_name(name):
    """A command without a name is refused."""
    with pytest.raises(PolyteiaConfigurationError, match="name of a command is empty"):
        make_call("command", name)


@pytest.mark.parametrize("name", [" create_tag", "create_tag\n", "create tag", "\ud800"])
def test_name_with_blanks(name):
    """A name with blanks is refused: it would be another command than it looks like."""
    with pytest.raises(PolyteiaConfigurationError, match="holds blanks"):
        make_call("command", name)


@pytest.mark.parametrize("params", ["x", 5, ["a"], b"x"])
def test_params_must_be_a_mapping(params):
    """Params of another kind are refused, naming the kind."""
    with pytest.raises(PolyteiaConfigurationError, match=f"are a {type(params).__name__}; they must be a mapping"):
        make_call("command", "create_tag", params)


def test_kind_must_fit():
    """A known command cannot be sent as a query, nor the other way round."""
    with pytest.raises(PolyteiaConfigurationError, match="'create_dataset' is a command, not a query"):
        make_call("query", "create_dataset")
    with pytest.raises(PolyteiaConfigurationError, match="'get_dataset' is a query, not a command"):
        make_call("command", "get_dataset")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"a": {"b": [1, date(2026, 1, 1)]}}, r"parameters\['a'\]\['b'\]\[1\] is a date"),
        ({"a": Decimal(1)}, r"parameters\['a'\] is a Decimal"),
        ({"a": [float("nan")]}, r"parameters\['a'\]\[0\] is nan"),
        ({"a": b"x"}, r"parameters\['a'\] is a bytes"),
        ({"a": {1: 2}}, r"parameters\['a'\] has a key that is a int"),
        ({"a": {"x", "y"}}, r"parameters\['a'\] is a set"),
        ({"a": "\ud800"}, r"parameters\['a'\] holds half a surrogate pair"),
        ({"a": object()}, r"parameters\['a'\] is a object"),
        ({"a": 10**5000}, r"parameters\['a'\] is a number of 16610 bits"),
    ],
)
def test_what_json_cannot_hold(params, path):
    """The path to the offending value is named, and the command."""
    with pytest.raises(PolyteiaConfigurationError, match=path) as caught:
        make_call("command", "create_tag", params)
    assert "'create_tag' cannot be sent" in str(caught.value)


def test_endless_params():
    """Params that contain themselves are refused, not followed for ever."""
    params = {}
    params["a"] = params
    with pytest.raises(PolyteiaConfigurationError, match="contains itself"):
        make_call("command", "create_tag", params)


def test_mappings_and_sequences_of_any_kind():
    """Lazy sequences and mappings, as Airflow passes them between tasks, become plain JSON."""
    call = make_call("command", "create_tag", UserDict({"a": UserList([1, (2, "ü")])}))
    assert call.params == {"a": [1, [2, "ü"]]}


def test_unknown_methods():
    """An unknown query may be repeated, an unknown command may not, unless the caller says so."""
    assert make_call("query", "list_novelties").repeatable
    assert not make_call("command", "do_something").repeatable
    assert make_call("command", "do_something", idempotent=True).repeatable
    assert not make_call("command", "update_dataset", idempotent=False).repeatable


@pytest.mark.parametrize("value", ["false", 0, 1, ""])
def test_idempotent_is_yes_or_no(value):
    """A text such as 'false', which Python takes for true, does not make a write repeatable."""
    with pytest.raises(PolyteiaConfigurationError, match="'idempotent' of 'create_tag' is"):
        make_call("command", "create_tag", {}, idempotent=value)


def test_every_known_method_is_consistent():
    """Queries are repeatable, creates are not, deletes may answer 404 when repeated; paths begin with /api."""
    for name, method in METHODS.items():
        assert method.path.startswith("/api")
        assert method.kind == ("query" if name.startswith(("get_", "list_")) else "command")
        if method.kind == "query":
            assert method.repeat is Idempotency.SAFE
        if name.startswith(("create_", "invite_")):
            assert method.repeat is Idempotency.NEVER
        if name.startswith(("delete_", "remove_")):
            assert method.repeat is Idempotency.GONE


def test_identity_holds_no_content():
    """The identity of a call holds ids, slug and name, nothing else."""
    call = make_call("command", "create_dataset", {"solution_id": "sol_1", "slug": "s", "name": "n", "source": "x"})
    assert call.identity == {"solution_id": "sol_1", "slug": "s", "name": "n"}
