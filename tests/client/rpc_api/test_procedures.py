"""What is known of procedures decides what is retried, refused and hidden."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.client.operation import Idempotency
from airflow_provider_polyteia.client.rpc_api.procedures import PROCEDURES, find
from airflow_provider_polyteia.client.rpc_api.protocol import make_call
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError


@pytest.mark.parametrize("name", PROCEDURES)
def test_words_and_idempotency(name):
    """What creates, invites, duplicates, publishes or toggles is never retried; what reads always is."""
    word, idempotency = name.rpartition("/")[2], PROCEDURES[name].idempotency
    if word.startswith(("create", "invite", "duplicate", "publish", "toggle")) and word != "inviteToWorkspace":
        assert idempotency is Idempotency.NONE
    if word.startswith(("get", "list", "check")):
        assert idempotency is Idempotency.SAFE
    if word.startswith("delete") and word != "deleteDatasetData":
        assert idempotency is Idempotency.DELETES


def test_unknown_procedure():
    """An unknown procedure is not retried, unless the caller says that it is idempotent."""
    assert find("dataset/doesNotExist").idempotency is Idempotency.NONE
    assert make_call("dataset/doesNotExist").idempotency is Idempotency.NONE
    assert make_call("dataset/doesNotExist", idempotent=True).idempotency is Idempotency.SAFE
    assert make_call("dataset/getDatasetById", idempotent=False).idempotency is Idempotency.NONE


@pytest.mark.parametrize("name", ["workspace/archiveWorkspace", "dpa/recordAcceptance"])
def test_refused_procedures(name):
    """A procedure with a harmful effect is not called; the exception says why."""
    with pytest.raises(PolyteiaConfigurationError, match="is never called"):
        make_call(name)


@pytest.mark.parametrize(
    "name", ["", "listDatasets", "dataset/", "/rpc/dataset/x", "dataset/list Datasets", "a/../b", None]
)
def test_invalid_names(name):
    """A name that is not a router and a procedure is rejected before anything is sent."""
    with pytest.raises(PolyteiaConfigurationError, match="router and a procedure"):
        make_call(name)


@pytest.mark.parametrize("given", [["a"], "text", 5])
def test_input_that_is_no_mapping(given):
    """The input of a procedure is a mapping."""
    with pytest.raises(PolyteiaConfigurationError, match="must be a mapping"):
        make_call("dataset/listDatasets", given)


def test_secrets():
    """The procedures whose output is a credential are known."""
    hidden = {name: known.masked_output for name, known in PROCEDURES.items() if known.masked_output}
    assert hidden == {
        "auth/personalAccessKey/exchange": "token",
        "dataset/exportDatasetData": "url",
        "form/getSubmissionAssetUrl": "url",
    }
