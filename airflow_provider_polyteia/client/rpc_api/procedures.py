"""The procedures of the RPC API, and whether they may be retried.

The platform promises idempotency for none of them; `Idempotency` is inferred from what a procedure means
(docs/platform-api.md#idempotency). A procedure that is not listed here is never retried.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_polyteia.client.operation import Idempotency


class Procedure(NamedTuple):
    """One procedure of the platform.

    :param name: router and procedure, e.g. ``dataset/createDataset``.
    :param idempotency: what happens when the platform receives it twice.
    :param date_fields: fields of the input that the platform only accepts as a date (docs/platform-api.md#rpc-dates).
    :param masked_output: field of the output that must not be shown or stored. Default: empty, none.
    :param rejection: why this provider never calls it. Default: empty, it may be called.
    """

    name: str
    idempotency: Idempotency = Idempotency.NONE
    date_fields: tuple[str, ...] = ()
    masked_output: str = ""
    rejection: str = ""


def _table(idempotency: Idempotency, names: str) -> list[Procedure]:
    """Return the procedures of lines such as ``router: procedure procedure``."""
    procedures = []
    for line in names.strip().splitlines():
        router, _, words = line.strip().partition(": ")
        procedures += [Procedure(f"{router}/{word}", idempotency) for word in words.split()]
    return procedures


_SAFE = """
    auth: listMyOrganizations
    auth/organizationAdmin: listMembers
    organization: getOrganizationById getPublicOrganization
    workspace: listWorkspacesByOrganization listWorkspaceMembers addWorkspaceMember setWorkspacePublicProperties
    enterprise/workspace: listWorkspacesByOrganization addWorkspaceAdmin inviteToWorkspace
    solution: getSolutionById listSolutionsByWorkspace updateSolutionDocumentation setSolutionPublicProperties
    solution: manageSolutionOwners manageSolutionCollaborators listSolutionAccess
    dataset: getDatasetById getDatasetBySolutionSlug listDatasets updateDatasetColumns deleteDatasetData
    dataset: getDatasetStats getDatasetIngestStatus scheduleDatasetPrune removeDatasetPruneSchedule setDatasetLock
    insight: updateInsight getInsight getInsightBySolutionSlug listInsights getDataForInsight setInsightLock
    report: updateReport getReport listReports setReportLock getInsightData
    reportView: updateReportView getReportView listReportViews syncReportView setReportViewPublicAccess
    reportView: listReportViewViewers manageReportViewViewers
    tag: getTag listTags listTagsForResource
    group: getGroupById listGroupsByWorkspace addGroupMember listGroupMembers setGroupPublicProperties
    permission: checkPermission checkMemberPermission checkPermissionBulk checkMemberPermissionBulk
    form: updateForm getForm setFormLock attachDataset getLatestReleasedForm getReleasedForm manageSubmitters
    form: listSubmitters getSubmission listForms
    dataview: updateDataview redefineDataview getDataview listDataviews setDataviewLock
    dpa: getMyAcceptanceStatus listActivities updateActivity setActivityLock
"""
_DELETES = """
    cockpit/organization: delete
    workspace: removeWorkspaceMember
    enterprise/workspace: archiveWorkspace
    solution: deleteSolution
    dataset: deleteDataset
    insight: deleteInsight
    report: deleteReport
    reportView: deleteReportView
    tag: deleteTag removeTagAssignment
    group: deleteGroup removeGroupMember
    form: deleteForm
    dataview: deleteDataview
    dpa: deleteActivity
"""
_NONE = """
    auth/organizationAdmin: inviteMember
    cockpit/organization: create
    cockpit/admin: invite
    enterprise/workspace: createWorkspace
    solution: createSolution
    dataset: createDataset duplicateDataset
    insight: createInsight
    report: createReport duplicateReport
    reportView: createReportView
    tag: createTag
    group: createGroup
    form: createForm publishForm
    dataview: createDataview
    dpa: createActivity toggleActivity
"""

EXCHANGE = Procedure(
    "auth/personalAccessKey/exchange",
    Idempotency.SAFE,
    masked_output="token",
    rejection="The key of the connection is exchanged automatically.",
)

_KNOWN = [
    *_table(Idempotency.SAFE, _SAFE),
    *_table(Idempotency.DELETES, _DELETES),
    *_table(Idempotency.ADDS, "tag: assignTag"),
    *_table(Idempotency.NONE, _NONE),
    EXCHANGE,
    Procedure("dataset/updateDataset", Idempotency.SAFE, date_fields=("dataAsOf",)),
    Procedure("dataset/exportDatasetData", Idempotency.SAFE, masked_output="url"),
    Procedure("form/getSubmissionAssetUrl", Idempotency.SAFE, masked_output="url"),
    Procedure(
        "workspace/archiveWorkspace",
        rejection="It archives the workspace and responds with an error; use 'enterprise/workspace/archiveWorkspace'.",
    ),
    Procedure(
        "dpa/recordAcceptance",
        rejection="Acknowledging data-processing terms is a legal declaration, which a user must make in Polyteia.",
    ),
]

PROCEDURES: dict[str, Procedure] = {procedure.name: procedure for procedure in _KNOWN}


def find(name: str) -> Procedure:
    """Return what is known of a procedure; an unknown one is never retried."""
    return PROCEDURES.get(name) or Procedure(name)
