"""Bodies of messages: how large they are, and their beginnings where the whole is too large to be kept."""


def size(text: str) -> int:
    """Count the bytes of a text in UTF-8, without making a copy where it is ASCII."""
    return len(text) if text.isascii() else len(text.encode())


def beginning(text: str, most: int) -> str:
    """Cut a text to so many bytes of UTF-8, never inside a character; one that fits comes back as it is."""
    if len(text) * 4 <= most:
        return text
    encoded = text[:most].encode()
    return text if len(text) <= most and len(encoded) <= most else encoded[:most].decode(errors="ignore")
