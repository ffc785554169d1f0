"""What went wrong in an installation, as a sentence: the installer's last meaningful lines, and what mends it."""

import re
from collections.abc import Sequence

_LINES_SHOWN = 6
_MENDS: tuple[tuple[str, bool, str], ...] = (
    (
        r"No space left on device|Errno 28|disk quota",
        False,
        "there is no room left on the disk: make some and try again",
    ),
    (r"the binding imports .* do not bring", False, "add it to the binding's requirements"),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch|hash mismatch",
        False,
        "a file is not the one that the requirements name: do not use it; ask whoever made the binding",
    ),
    (
        r"Retrying \(Retry|NewConnectionError|Temporary failure in name resolution|Name or service not known"
        r"|getaddrinfo failed|Connection refused|Read timed out|ConnectTimeout|ProxyError|SSLError|CERTIFICATE_VERIFY"
        r"|Failed to fetch|error sending request|IncompleteRead|Connection broken|dns error",
        True,
        "the package index cannot be reached, or was cut off: look at the network, and at the index and proxy in pip's "
        "configuration, then run it again; what was fetched is not fetched twice",
    ),
    (
        r"Invalid requirement|InvalidRequirement|Could not open requirements file|Expected one of|Failed to parse",
        False,
        "a line of the binding's requirements cannot be understood: correct it",
    ),
    (
        r"conflicting dependencies|ResolutionImpossible|we can conclude that|conflict is caused by",
        False,
        "the binding's requirements, what Greenroom needs beside them and your constraints do not fit together: "
        "loosen one of them",
    ),
    (
        r"requires a different Python|Requires-Python|not supported on this platform|not a supported wheel",
        False,
        "a package does not exist for this Python or this platform: run Greenroom with another Python",
    ),
    (
        r"No matching distribution found|Could not find a version that satisfies|was not found in the",
        False,
        "the index has no such package or version: look at the spelling in the binding's requirements, and at the "
        "index and constraints in pip's configuration",
    ),
    (
        r"subprocess-exited-with-error|Failed (?:to build|building wheel)|build backend returned an error"
        r"|metadata-generation-failed",
        False,
        "a package had to be built here and could not be: it may need a compiler or system libraries, which its own "
        "page names",
    ),
)
"""pattern, whether trying again may help, what to do; the first that fits counts"""

_NOISE = re.compile(
    r"^(?:\[notice\]|hint: See above|note: This|WARNING: (?:Location|You are using|Retrying|Running pip|Cache)"
    r"|Looking in|Using cached|Progress \d|Collecting |Requirement already|error: (?:subprocess|metadata)|Using Python"
    r"|Resolved \d|╰─> (?:See above|\[)|\[end of output\]|× (?:Encountered error|Preparing|Getting|Building)"
    r"|exit code: \d|Processing |Traceback |File \"|~*\^+~*$)"
)
_TELLING = re.compile(r"ERROR|error|Error|conflict|cause|depends on|requires|Because|No space|×")
_FRAME = "│╰─> \t"


def explain(output: Sequence[str]) -> tuple[str, bool]:
    """``(sentences, whether trying again may help)`` for the output of an installer that failed."""
    text = "\n".join(output)
    mend, again = "the installer's whole output says more", False
    for pattern, may_help, sentence in _MENDS:
        if re.search(pattern, text):
            mend, again = sentence, may_help
            break
    shown = "; ".join(_meaningful(output)) or "the installer failed without a word"
    return f"{shown}. What to do: {mend}", again


def _meaningful(output: Sequence[str]) -> list[str]:
    lines = [
        stripped for line in output if (stripped := line.strip().lstrip(_FRAME).strip()) and not _NOISE.match(stripped)
    ]
    begin = next((at for at, line in enumerate(lines) if _TELLING.search(line)), max(0, len(lines) - _LINES_SHOWN))
    telling = [line for line in lines[begin:] if _TELLING.search(line)] or lines[begin:]
    seen = dict.fromkeys(line.removeprefix("ERROR: ").removeprefix("error: ").rstrip(".") for line in telling)
    return list(seen)[-_LINES_SHOWN:]
