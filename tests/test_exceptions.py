"""The tree of errors: who is whose child, who fails a task at once, and that errors survive pickling."""

from __future__ import annotations

import pickle
import re

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_polyteia import exceptions

ALL = [getattr(exceptions, name) for name in exceptions.__all__]


@pytest.mark.parametrize("kind", ALL)
def test_tree_as_drawn(kind):
    """The class is drawn in the module's docstring, and marked there if it fails a task at once."""
    (line,) = [line for line in exceptions.__doc__.splitlines() if re.search(rf"\b{kind.__name__}\b", line)]
    assert issubclass(kind, AirflowException)
    assert issubclass(kind, AirflowFailException) == line.rstrip().endswith("✗")
    is_child_of_api = line.startswith("    │   ")
    assert (
        issubclass(kind, exceptions.PolyteiaAPIError) and kind is not exceptions.PolyteiaAPIError
    ) == is_child_of_api


@pytest.mark.parametrize("kind", ALL)
def test_pickle(kind):
    """Errors cross process borders with their attributes."""
    error = kind("what happened", method="get_dataset", conn_id="city")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), copy.__dict__) == (kind, "what happened", error.__dict__)
