"""Reading YAML that others wrote, without being brought down by it."""

import re
from typing import Any

import yaml

from greenroom.errors import BadRequest

MAX_DEPTH = 50
SAFE_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C one where PyYAML was built with it: ten times faster."""

_MAYBE_DEEP = re.compile(r"(?:[-?:][ \t]+){30}|^[ \t]{60}", re.MULTILINE)


def load_yaml(text: str) -> Any:
    """:raises yaml.YAMLError: for what is no YAML. :raises BadRequest: naming the line, for what is nested too deep."""
    try:
        refuse_depth(text)
        return yaml.load(text, Loader=SAFE_LOADER)  # noqa: S506 -- both are safe loaders
    except (ValueError, TypeError, OverflowError) as error:  # a date like 2023-99-99, an unhashable key
        raise yaml.YAMLError(str(error)) from error


def refuse_depth(text: str) -> None:
    """The C loader recurses on its stack and crashes the process when values are nested deeply enough."""
    if text.count("[") + text.count("{") <= MAX_DEPTH and not _MAYBE_DEEP.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=SAFE_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise BadRequest(f"line {line}: values are nested deeper than {MAX_DEPTH} levels")
