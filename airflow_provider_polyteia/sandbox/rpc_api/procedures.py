"""Table of all procedures (docs/platform-api.md#rpc-procedures)."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.handlers import records
from airflow_provider_polyteia.sandbox.rpc_api.envelope import VOID, encode, parse_date
from airflow_provider_polyteia.sandbox.rpc_api.handlers import datasets, others
from airflow_provider_polyteia.sandbox.rpc_api.inputs import Key, parse_keys, validate

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.handlers.records import Handler, Params
    from airflow_provider_polyteia.sandbox.backend.platform import Session


@dataclass(frozen=True)
class Procedure:
    """One procedure.

    :param name: Router and procedure, such as `dataset/createDataset`.
    :param handler: Operation, which takes the values of the keys by their names in the backend.
    :param writes: Whether the procedure requires a key that is not read-only.
    :param user_level: Whether a session without an organization is sufficient.
    :param nullable: Whether the result None is sent as null. Otherwise, it is sent as no value.
    """

    name: str
    keys: tuple[Key, ...]
    handler: Handler
    writes: bool
    user_level: bool = False
    nullable: bool = False

    def read_input(self, value: Any) -> Params:
        """Return the validated parameters of the handler.

        :raises BusinessError: 400, if the input is invalid.
        """
        return validate(self.keys, value)

    async def run(self, session: Session, params: Params) -> Any:
        """Run the operation, make its changes permanent, and return its result, or `VOID`.

        :raises BusinessError: if the operation fails.
        """
        result = self.handler(session, params)
        if inspect.isawaitable(result):
            result = await result
        session.store.commit()
        return VOID if result is None and not self.nullable else result


async def call_directly(session: Session, name: str, params: dict[str, Any]) -> Any:
    """Run a procedure without HTTP and return its result. Dates are strings.

    :raises KeyError: if there is no procedure with this name.
    :raises BusinessError: if the input is invalid or the procedure fails.
    """
    procedure = PROCEDURES[name]
    dates = {
        key.name: parse_date(params[key.name]) for key in procedure.keys if key.mark == "@" and params.get(key.name)
    }
    result = await procedure.run(session, procedure.read_input({**params, **dates}))
    return None if result is VOID else encode(result, 1)[0]


def _read(name: str, keys: str, handler: Handler) -> Procedure:
    return Procedure(name, parse_keys(keys), handler, writes=False)


def _write(name: str, keys: str, handler: Handler) -> Procedure:
    return Procedure(name, parse_keys(keys), handler, writes=True)


_DATASET = "name! description~! source! documentation{}~!"
_INSIGHT = "solutionId! organizationId! name! description~! query{}! config{}~! slug"

# Keys are strings unless marked: # number, ? boolean, [] array, {} object, {[]} object or array, @ date.
# ~ means nullable, ! required.
_ALL = (
    # Sessions and organizations. The exchange has a path of its own; see `sessions`.
    Procedure("auth/listMyOrganizations", (), others.list_my_organizations, writes=False, user_level=True),
    _read("organization/getOrganizationById", "id!", others.presenting(records.get("organization"))),
    Procedure(
        "organization/getPublicOrganization",
        parse_keys("organizationSlug!"),
        others.get_public_organization,
        writes=False,
        user_level=True,
        nullable=True,
    ),
    # Workspaces
    _read("workspace/listWorkspacesByOrganization", "organizationId!", others.listing_in("workspace", "organization")),
    _write(
        "workspace/setWorkspacePublicProperties",
        "id! publicProperties{}!",
        others.set_field("workspace", "public_properties", "attributes"),
    ),
    Procedure(
        "enterprise/workspace/listWorkspacesByOrganization",
        parse_keys("organizationId!"),
        others.list_all_workspaces,
        writes=False,
        user_level=True,
    ),
    Procedure(
        "enterprise/workspace/createWorkspace",
        parse_keys("organizationId! name! description~!"),
        others.creating_in("workspace", "organization"),
        writes=True,
        user_level=True,
    ),
    Procedure(
        "enterprise/workspace/archiveWorkspace",
        parse_keys("workspaceId!"),
        others.archive_workspace,
        writes=True,
        user_level=True,
    ),
    # Solutions
    _write("solution/createSolution", "workspaceId! name! description~!", others.creating_in("solution", "workspace")),
    _read("solution/getSolutionById", "id!", others.presenting(records.get("solution"))),
    _read("solution/listSolutionsByWorkspace", "workspaceId!", others.listing_in("solution", "workspace")),
    _write(
        "solution/updateSolutionDocumentation",
        "id! documentation{}!",
        others.set_field("solution", "documentation", "documentation"),
    ),
    _write(
        "solution/setSolutionPublicProperties",
        "id! publicProperties{}!",
        others.set_field("solution", "public_properties", "attributes"),
    ),
    _write("solution/deleteSolution", "id!", records.delete("solution")),
    # Datasets
    _write("dataset/createDataset", f"organizationId! solutionId! {_DATASET} slug", datasets.create_dataset),
    _read("dataset/getDatasetById", "id!", datasets.get_dataset),
    _read("dataset/getDatasetBySolutionSlug", "solutionId! slug!", datasets.get_dataset_by_slug),
    _read("dataset/listDatasets", "solutionId!", datasets.list_datasets),
    _write("dataset/updateDataset", f"id! slug! {_DATASET} dataAsOf@~!", datasets.update_dataset),
    _write("dataset/updateDatasetColumns", "id! columns[]!", datasets.update_columns),
    _write("dataset/deleteDataset", "id!", datasets.delete_dataset),
    _write("dataset/deleteDatasetData", "datasetId!", datasets.delete_data),
    _read("dataset/getDatasetStats", "id!", datasets.get_stats),
    # Reading the status requires the right to edit, which is checked first.
    _write("dataset/getDatasetIngestStatus", "id! ingestId!", datasets.get_ingest_status),
    _read("dataset/exportDatasetData", "id! format!", datasets.export_data),
    _write("dataset/duplicateDataset", "id! name!", datasets.duplicate_dataset),
    _write("dataset/scheduleDatasetPrune", "id! schedule!", datasets.set_prune_schedule),
    _write("dataset/removeDatasetPruneSchedule", "id!", datasets.set_prune_schedule),
    _write("dataset/setDatasetLock", "id! locked?!", datasets.set_lock),
    # Insights
    _write("insight/createInsight", _INSIGHT, others.create_insight),
    _write("insight/updateInsight", f"id! {_INSIGHT}", others.patch("insight")),
    _read("insight/getInsight", "id solutionId slug", others.get_insight),
    _read("insight/listInsights", "solutionId!", others.listing_in("insight", "solution")),
    _write("insight/deleteInsight", "id!", records.delete("insight")),
    # Reports and their views
    _write(
        "report/createReport",
        "solutionId! organizationId! name! description~!",
        others.creating_in("report", "solution"),
    ),
    _write("report/updateReport", "id! name description~ structure{[]} metadata{}", others.patch("report")),
    _read("report/getReport", "id!", others.presenting(records.get("report"))),
    _read("report/listReports", "solutionId!", others.listing_in("report", "solution")),
    _write("report/deleteReport", "id!", records.delete("report")),
    # Tags
    _write(
        "tag/createTag",
        "organizationId! solutionId! name! description~! color!",
        others.creating_in("tag", "solution"),
    ),
    _read("tag/getTag", "id!", others.presenting(records.get("tag"))),
    _read("tag/listTags", "solutionId!", others.listing_in("tag", "solution")),
    _write("tag/deleteTag", "id!", records.delete("tag")),
    _write("tag/assignTag", "tagId! resourceId! solutionId", others.assign_tag),
    _write("tag/removeTagAssignment", "tagId! resourceId!", others.remove_tag_assignment),
    _read("tag/listTagsForResource", "resourceId!", others.list_tags_for_resource),
    # Groups
    _write("group/createGroup", "workspaceId! name! description~!", others.creating_in("group", "workspace")),
    _read("group/getGroupById", "id!", others.presenting(records.get("group"))),
    _read("group/listGroupsByWorkspace", "workspaceId!", others.listing_in("group", "workspace")),
    _write(
        "group/setGroupPublicProperties",
        "id! publicProperties{}!",
        others.set_field("group", "public_properties", "attributes"),
    ),
    _write("group/deleteGroup", "id!", records.delete("group")),
    # Permissions
    _read("permission/checkPermission", "permission! resourceId!", others.check_permission),
    # Data processing terms. Acknowledging them is a declaration by a person, not an edit.
    _read("dpa/getMyAcceptanceStatus", "solutionId!", others.get_acceptance_status),
    _read("dpa/recordAcceptance", "solutionId! context", others.record_acceptance),
)

PROCEDURES = {procedure.name: procedure for procedure in _ALL}
