"""Fivetran's own trigger, redirected to our server, because its hook has a fixed address."""

from __future__ import annotations

import os
from typing import Any

from fivetran_provider_async.hooks import FivetranHook
from fivetran_provider_async.triggers import FivetranTrigger

FivetranHook.api_protocol, FivetranHook.api_host = "http", os.environ["WAITING_SERVER"]


class LocalFivetranTrigger(FivetranTrigger):
    """Differs only in its class path, so that the triggerer imports this module."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        _, options = super().serialize()
        return f"{__name__}.{type(self).__name__}", options
