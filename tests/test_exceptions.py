"""The exception hierarchy: who derives from whom, what fails a task immediately, and how exceptions travel."""

from __future__ import annotations

import copy
import json
import pickle
import re

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_polyteia import exceptions
from airflow_provider_polyteia.exceptions import PolyteiaError, PolyteiaRateLimitError

ALL = [getattr(exceptions, name) for name in exceptions.__all__]
each_class = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
VALUES = {
    "method": "get_dataset",
    "conn_id": "city",
    "not_applied": True,
    "code": 418,
    "message": "no",
    "details": [{"field": "id"}],
    "http_status": 200,
    "retry_after": 7.5,
    "from_gateway": True,
    "identifiers": {"slug": "bookings"},
}


def make(cls):
    """An exception with a value for each of its attributes."""
    return cls("what happened", **{name: VALUES[name] for name in cls.attribute_names})


def described(error):
    return type(error), str(error), vars(error)


@each_class
def test_hierarchy_as_drawn(cls):
    """The class is drawn in the module's docstring, and marked there if it fails a task immediately."""
    (line,) = [line for line in exceptions.__doc__.splitlines() if re.search(rf"\b{cls.__name__}\b", line)]
    assert issubclass(cls, AirflowException)
    assert issubclass(cls, AirflowFailException) == line.rstrip().endswith("✗")
    is_child_of_api = line.startswith("    │   ")
    assert (issubclass(cls, exceptions.PolyteiaAPIError) and cls is not exceptions.PolyteiaAPIError) == is_child_of_api


@each_class
def test_attribute_names_are_complete(cls):
    """`attribute_names` lists everything that an exception keeps, so that nothing is lost on the way."""
    assert set(vars(make(cls))) == set(cls.attribute_names)


@each_class
@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 - our own
def test_copied_and_pickled(cls, copied):
    """Exceptions are copied and pickled with their attributes."""
    assert described(copied(make(cls))) == described(make(cls))


@each_class
def test_from_triggerer_to_worker(cls):
    """`to_dict` is plain JSON, and `from_dict` restores type, text and attributes."""
    stored = json.loads(json.dumps(make(cls).to_dict()))
    assert described(PolyteiaError.from_dict(stored)) == described(make(cls))


def test_from_another_version():
    """An exception of an unknown type becomes a PolyteiaError; unknown attributes are ignored."""
    error = PolyteiaError.from_dict(
        {"type": "PolyteiaNewError", "text": "x", "attributes": {"code": 1, "conn_id": "c"}}
    )
    assert described(error) == described(PolyteiaError("x", conn_id="c"))
    assert described(PolyteiaError.from_dict({"type": "PolyteiaError", "text": "x"})) == described(PolyteiaError("x"))


@each_class
def test_extended(cls):
    """`extended` returns a copy with another sentence and changed attributes, and leaves the original unchanged."""
    original = make(cls)
    extended = original.extended("More.", not_applied=False)
    assert described(original) == described(make(cls))
    assert (type(extended), str(extended)) == (cls, "what happened More.")
    assert vars(extended) == {**vars(original), "not_applied": False}


def test_extended_keeps_cause_and_traceback():
    """Raising the copy shows the cause and the place of the original, and not the original a second time."""
    cause = OSError("disk")
    with pytest.raises(PolyteiaRateLimitError) as caught:
        raise PolyteiaRateLimitError("slow down") from cause
    extended = caught.value.extended("Again.")
    assert (extended.__cause__, extended.__suppress_context__) == (cause, True)
    assert extended.__traceback__ is caught.value.__traceback__
