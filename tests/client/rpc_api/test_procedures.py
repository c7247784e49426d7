"""What is known of procedures decides what is retried, rejected and hidden."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.client.operation import Idempotency
from airflow_provider_polyteia.client.rpc_api.procedures import PROCEDURES, find
from airflow_provider_polyteia.client.rpc_api.protocol import make_call
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

# Every procedure that is known, by its router, and the effect of a second call: none is the same effect, `-` the same
# end state, but the second may fail with 404, `+` the same with 409, `!` a second resource, mail or change.
KNOWN = {
    "auth": "listMyOrganizations",
    "auth/organizationAdmin": "listMembers inviteMember!",
    "organization": "getOrganizationById getPublicOrganization",
    "cockpit/organization": "create! delete-",
    "cockpit/admin": "invite!",
    "workspace": "listWorkspacesByOrganization listWorkspaceMembers addWorkspaceMember removeWorkspaceMember-"
    " setWorkspacePublicProperties",
    "enterprise/workspace": "listWorkspacesByOrganization createWorkspace! addWorkspaceAdmin inviteToWorkspace"
    " archiveWorkspace-",
    "solution": "createSolution! getSolutionById listSolutionsByWorkspace updateSolutionDocumentation deleteSolution-"
    " setSolutionPublicProperties manageSolutionOwners manageSolutionCollaborators listSolutionAccess",
    "dataset": "createDataset! getDatasetById getDatasetBySolutionSlug listDatasets updateDataset updateDatasetColumns"
    " deleteDataset- deleteDatasetData getDatasetStats getDatasetIngestStatus exportDatasetData duplicateDataset!"
    " scheduleDatasetPrune removeDatasetPruneSchedule setDatasetLock",
    "insight": "createInsight! updateInsight getInsight getInsightBySolutionSlug listInsights deleteInsight-"
    " getDataForInsight setInsightLock",
    "report": "createReport! updateReport getReport listReports deleteReport- duplicateReport! setReportLock"
    " getInsightData",
    "reportView": "createReportView! updateReportView getReportView listReportViews deleteReportView- syncReportView"
    " setReportViewPublicAccess listReportViewViewers manageReportViewViewers",
    "tag": "createTag! getTag deleteTag- listTags assignTag+ removeTagAssignment- listTagsForResource",
    "group": "createGroup! getGroupById deleteGroup- listGroupsByWorkspace addGroupMember removeGroupMember-"
    " listGroupMembers setGroupPublicProperties",
    "permission": "checkPermission checkMemberPermission checkPermissionBulk checkMemberPermissionBulk",
    "form": "createForm! updateForm getForm deleteForm- setFormLock publishForm! attachDataset getLatestReleasedForm"
    " getReleasedForm manageSubmitters listSubmitters getSubmission getSubmissionAssetUrl listForms",
    "dataview": "createDataview! updateDataview redefineDataview getDataview listDataviews deleteDataview-"
    " setDataviewLock",
    "dpa": "getMyAcceptanceStatus listActivities createActivity! updateActivity deleteActivity- toggleActivity!"
    " setActivityLock",
}
EFFECTS = {"-": Idempotency.DELETES, "+": Idempotency.ADDS, "!": Idempotency.NONE}


def test_all_known_procedures():
    """The table has each known procedure, with the effect of a second call, and no other."""
    expected = {
        f"{router}/{word.rstrip('-+!')}": EFFECTS.get(word[-1], Idempotency.SAFE)
        for router, words in KNOWN.items()
        for word in words.split()
    }
    called = {name: known.idempotency for name, known in PROCEDURES.items() if not known.rejection}
    assert called == expected


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
    with pytest.raises(PolyteiaConfigurationError, match="cannot be called"):
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
