"""Text and JSON as bytes, whatever the strings hold: a model may give half of a surrogate pair, which UTF-8 cannot say.

"\\ud83d\\ude00" -> the one character that both halves mean;  "\\ud83d" -> U+FFFD
"""

import json
from typing import Any


def encodable(text: str) -> str:
    """The same text if UTF-8 can say it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def json_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8, without escapes where none are needed."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return encodable(text).encode()
