"""The RPC API: ``POST /rpc/<router>/<procedure>``, uploads, SQL and exports (docs/platform-api.md#rpc-api)."""
