"""Key and ids that exist in every new sandbox."""

from __future__ import annotations

SANDBOX_PAK = "pak_sandbox_not_a_secret"
"""Personal access key that a sandbox accepts by default. It is well known, so it is not a secret."""

SANDBOX_ORGANIZATION_ID = "org_musterhausen00000001"
SANDBOX_WORKSPACE_ID = "ws_musterhausen00000001"
SANDBOX_SOLUTION_ID = "sol_musterhausen00000001"
SANDBOX_USER_ID = "usr_musterhausen00000001"
