"""Bodies larger than what is kept of them: cut as soon as they are decoded, so that no worker holds them in full."""

from msgspec.structs import replace

from worker.bodies import beginning, size
from worker.records import Message


def shortened(message: Message, most: int) -> Message:
    """Cut each body to so many bytes of UTF-8, and note which were cut and how large the body was."""
    parts: dict[str, str] = {}
    if message.text_body is not None and (part := beginning(message.text_body, most)) is not message.text_body:
        parts["text_body"] = part
    if message.body is None or (part := beginning(message.body, most)) is message.body:
        return replace(message, **parts, cut=tuple(parts)) if parts else message
    return replace(message, **parts, body=part, cut=("body", *parts), body_size=size(message.body))
