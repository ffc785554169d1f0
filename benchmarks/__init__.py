"""Where the README's figures come from: ``python -m benchmarks`` (see ``docs/benchmarks.md``)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"

# The fake backend that the tests use is the latency rig's, too.
if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))
