"""The exception hierarchy: which exceptions fail a task immediately, and how exceptions are copied and transported."""

from __future__ import annotations

import copy
import json
import pickle
import re
import traceback

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaNotFoundError

ALL = [getattr(exceptions, name) for name in exceptions.__all__]
# Every attribute, each with a value that is not its default.
VALUES = {
    "method": "get_dataset",
    "conn_id": "city",
    "not_applied": True,
    "code": 404,
    "message": "not found",
    "details": [{"field": "id"}],
    "http_status": 200,
    "is_permanent": True,
    "retry_after": 1.5,
    "from_gateway": True,
    "may_be_applied": True,
    "dataset_id": "ds_1",
    "ingest_id": "dsig_1",
    "identifiers": {"id": "ds_1"},
}


def make(kind):
    """Return an exception with a value for each of its attributes."""
    return kind("What happened.", **{name: VALUES[name] for name in kind.attribute_names})


def contents(error):
    """Return type, text and attributes."""
    return type(error), str(error), copy.deepcopy(vars(error))


def raised(error, cause):
    """Raise an exception, and return it with its traceback and cause."""
    try:
        raise error from cause
    except PolyteiaError as caught:
        return caught


@pytest.mark.parametrize("kind", ALL)
def test_hierarchy_as_documented(kind):
    """The module's docstring lists the class, and marks it if it fails a task immediately."""
    (line,) = [line for line in exceptions.__doc__.splitlines() if re.search(rf"\b{kind.__name__}\b", line)]
    assert issubclass(kind, AirflowException)
    assert issubclass(kind, AirflowFailException) == line.rstrip().endswith("✗")
    is_child_of_api = line.startswith("    │   ")
    assert (
        issubclass(kind, exceptions.PolyteiaAPIError) and kind is not exceptions.PolyteiaAPIError
    ) == is_child_of_api


@pytest.mark.parametrize("kind", ALL)
def test_attribute_names_are_complete(kind):
    """`attribute_names` lists every attribute of an exception, and each is set by the constructor."""
    assert vars(make(kind)) == {name: VALUES[name] for name in kind.attribute_names}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301 - our own bytes
)
def test_copy_and_pickle(kind, duplicate):
    """Copied and pickled exceptions keep type, text and attributes."""
    error = make(kind)
    assert contents(duplicate(error)) == contents(error)


@pytest.mark.parametrize("kind", ALL)
def test_to_dict_and_from_dict(kind):
    """An exception survives the way to another process as JSON, with all its attributes."""
    error = make(kind)
    data = json.loads(json.dumps(error.to_dict()))
    assert contents(PolyteiaError.from_dict(data)) == contents(error)


@pytest.mark.parametrize("kind", ALL)
def test_from_dict_without_attributes(kind):
    """Attributes that are missing have their defaults."""
    for data in ({"type": kind.__name__, "text": "x"}, {"type": kind.__name__, "text": "x", "attributes": None}):
        assert contents(PolyteiaError.from_dict(data)) == contents(kind("x"))


@pytest.mark.parametrize(
    "name", ["PolyteiaTeapotError", "AirflowException", "AirflowFailException", "Any", "", "__doc__"]
)
def test_from_dict_of_an_unknown_type(name):
    """An unknown type, including other names in the module, becomes a PolyteiaError with the attributes it knows."""
    error = PolyteiaError.from_dict({"type": name, "text": "x", "attributes": {"method": "m", "code": 404}})
    assert contents(error) == contents(PolyteiaError("x", method="m"))


@pytest.mark.parametrize("kind", ALL)
def test_from_dict_ignores_unknown_attributes(kind):
    """Attributes that this version does not know are ignored."""
    data = make(kind).to_dict()
    data["attributes"] = {**data["attributes"], "new_attribute": 1, "args": (), "text": "other"}
    assert contents(PolyteiaError.from_dict(data)) == contents(make(kind))


@pytest.mark.parametrize("kind", ALL)
def test_extended(kind):
    """`extended` returns a changed copy with cause and traceback, and leaves the original unchanged."""
    cause = ValueError("cause")
    error = raised(make(kind), cause)
    before, trace = contents(error), error.__traceback__
    extended = error.extended("Giving up.", conn_id="other", not_applied=False)
    assert contents(extended) == (
        kind,
        "What happened. Giving up.",
        {**vars(error), "conn_id": "other", "not_applied": False},
    )
    assert (extended.__cause__, extended.__traceback__) == (cause, trace)
    assert extended is not error
    assert contents(error) == before
    assert (error.__cause__, error.__traceback__) == (cause, trace)


def test_extended_without_a_sentence():
    """Without a sentence, only the attributes change."""
    extended = make(PolyteiaNotFoundError).extended(not_applied=False)
    assert (str(extended), extended.not_applied, extended.code) == ("What happened.", False, 404)
    assert extended.__cause__ is None


def test_extended_rejects_unknown_attributes():
    """An attribute that the class does not have is an error."""
    with pytest.raises(TypeError):
        PolyteiaError("x").extended(code=404)


def test_raising_an_extended_copy_shows_one_exception():
    """If a copy is raised while the original is handled, the log shows the copy and the cause, not the original."""
    error = raised(PolyteiaError("What happened."), ValueError("cause"))
    try:
        try:
            raise error
        except PolyteiaError as caught:
            raise caught.extended("Giving up.") from caught.__cause__
    except PolyteiaError as shown:
        text = "".join(traceback.format_exception(shown))
    assert text.count("What happened.\n") == 0
    assert text.count("PolyteiaError: What happened. Giving up.") == 1
    assert text.count("ValueError: cause") == 1
