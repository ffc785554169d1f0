"""``benchmarks/broadcast.py`` as part of the whole: one event to 100 clients against bare python-socketio."""

import asyncio
import json
import sys

from benchmarks import ROOT
from benchmarks.figures import Figure, Report
from benchmarks.plan import Plan


async def run(plan: Plan) -> Report:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "benchmarks" / "broadcast.py"), "--events", str(plan.choose(400, 100))),
        stdout=asyncio.subprocess.PIPE,
    )
    output = (await process.communicate())[0].decode()
    if process.returncode != 0:
        raise RuntimeError("benchmarks/broadcast.py failed")
    *lines, last = output.strip().splitlines()
    found = json.loads(last)
    figures = [
        Figure(
            f"{kind} to 100 clients, against emit to a room of python-socketio",
            "times faster",
            {"": found["broadcast_ratio"][kind]["wall"], "by CPU": found["broadcast_ratio"][kind]["cpu"]},
            {"": found["broadcast_budget"]},
            at_least=True,
        )
        for kind in ("text", "audio")
    ]
    return Report(figures, lines)
