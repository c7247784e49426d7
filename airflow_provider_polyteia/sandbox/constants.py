"""What every fresh sandbox holds, under ids that never change."""

from __future__ import annotations

SANDBOX_PAK = "pak_sandbox_not_a_secret"
"""The personal access key a sandbox accepts unless it is given others. Well known, so not a secret."""

SANDBOX_ORGANIZATION_ID = "org_musterhausen00000001"
SANDBOX_WORKSPACE_ID = "ws_musterhausen00000001"
SANDBOX_SOLUTION_ID = "sol_musterhausen00000001"
SANDBOX_USER_ID = "usr_musterhausen00000001"
