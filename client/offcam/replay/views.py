"""Rendering an env in another size or by another camera, by arguments that its class takes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import NotReplayable

if TYPE_CHECKING:
    from offcam_runs.replay.requests import Request


class Views:
    """The views that an env's class can render.

    Args:
        kind: the class of the base env.

    Attributes:
        sizes: whether it takes the size of its pictures as ``width`` and ``height``, as MuJoCo's envs do.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self.sizes = self._takes("width") and self._takes("height")

    def arguments(self, request: Request) -> dict[str, Any]:
        """The arguments that the env is made with for the pictures of a request.

        Raises:
            NotReplayable: the request names a camera, and the class has none to choose from.
        """
        found: dict[str, Any] = {}
        if request.size and self.sizes:
            found["width"], found["height"] = request.size
        if request.camera:
            number = request.camera.isdecimal() and self._takes("camera_id")
            if not number and not self._takes("camera_name"):
                raise NotReplayable(
                    f"{self._kind.__name__} has no camera to choose: it takes neither camera_id nor camera_name"
                )
            found["camera_id" if number else "camera_name"] = int(request.camera) if number else request.camera
        return found

    def _takes(self, name: str) -> bool:
        """Whether the class has an argument of this name, itself or in a base class to which it passes others on."""
        for kind in self._kind.__mro__:
            if "__init__" not in vars(kind):
                continue
            parameters = inspect.signature(vars(kind)["__init__"]).parameters
            if name in parameters:
                return True
            if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
                return False
        return False
