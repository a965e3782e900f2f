"""Where Gradio puts what visitors upload: each file in a folder of its own."""

import secrets
from typing import Any

from gradio import route_utils

_Upload = route_utils.GradioUploadFile


class _OwnFolder(_Upload):
    """An upload whose digest, which names its folder, is unlike that of any other."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sha.update(secrets.token_bytes(16))


def keep_uploads_apart() -> None:
    """Let two uploads of one name and content not be one file.

    Gradio names the folder of an upload by what is in it. When two visitors send the same film at a time, the first to
    be read would be removed under the other's eyes.
    """
    # Its parser looks the class up by this name; mypy knows no class that is assigned to.
    route_utils.GradioUploadFile = _OwnFolder  # type: ignore[misc]
