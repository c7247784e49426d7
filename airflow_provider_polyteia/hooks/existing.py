"""What a create can do with a dataset that was there before; see `PolyteiaHook.create_dataset`."""

from __future__ import annotations

from typing import Literal, get_args

IfExists = Literal["reuse", "update", "fail"]
IF_EXISTS: tuple[str, ...] = get_args(IfExists)
