"""The only module that depends on Airflow's version."""

from __future__ import annotations

from airflow import __version__ as AIRFLOW_VERSION  # noqa: N812 - a constant in our naming

_RELEASE = tuple(int(part) for part in AIRFLOW_VERSION.split(".")[:2])

AIRFLOW_V_3_0_PLUS = _RELEASE >= (3, 0)
AIRFLOW_V_3_3_PLUS = _RELEASE >= (3, 3)
REFUSES_EMPTY_XCOMS = _RELEASE == (3, 0)  # its API server treats the value None as missing, and the task fails

__all__ = [
    "AIRFLOW_VERSION",
    "AIRFLOW_V_3_0_PLUS",
    "AIRFLOW_V_3_3_PLUS",
    "REFUSES_EMPTY_XCOMS",
    "amask_secret",
    "lineage_is_read",
]


async def amask_secret(secret: str) -> None:
    """Mask a secret in logs, from within an event loop. Airflow provides this since 3.3.2."""
    try:
        from airflow.sdk.log import amask_secret as mask  # noqa: PLC0415 - not in older versions
    except ImportError:
        from airflow.providers.common.compat.sdk import mask_secret  # noqa: PLC0415 - as above
        from asgiref.sync import sync_to_async  # noqa: PLC0415 - as above

        await sync_to_async(mask_secret)(secret)  # in a triggerer it waits for another process
    else:
        await mask(secret)


def lineage_is_read() -> bool:
    """Return True if a plugin may read hook lineage.

    If none does, Airflow returns a no-op collector; but even creating that one imports every provider's asset modules,
    which is slower than a Polyteia request. Older versions offer no way to check.
    """
    try:
        from airflow.sdk.plugins_manager import get_hook_lineage_readers_plugins  # noqa: PLC0415 - not in older versions
    except ImportError:
        return True
    return bool(get_hook_lineage_readers_plugins())
