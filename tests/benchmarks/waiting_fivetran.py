"""Fivetran's own trigger, sent to our server: its hook has the address in the code."""

from __future__ import annotations

import os
from typing import Any

from fivetran_provider_async.hooks import FivetranHook
from fivetran_provider_async.triggers import FivetranTrigger

FivetranHook.api_protocol, FivetranHook.api_host = "http", os.environ["WAITING_SERVER"]


class LocalFivetranTrigger(FivetranTrigger):
    """Differs in its path only, by which the triggerer finds this module."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger elsewhere."""
        _, options = super().serialize()
        return f"{__name__}.{type(self).__name__}", options
