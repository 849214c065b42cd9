"""Gymnasium's ``VectorWrapper``, with type parameters also for versions in which it is not generic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium.vector

if TYPE_CHECKING:
    from gymnasium.vector import VectorWrapper
else:

    class VectorWrapper(gymnasium.vector.VectorWrapper):
        """Takes type parameters and ignores them, as the one of Gymnasium 1.2 is not generic."""

        def __class_getitem__(cls, _parameters: object) -> type:
            return cls


__all__ = ["VectorWrapper"]
