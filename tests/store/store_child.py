"""A process that stores and says what is stored, until it is killed: ``store_child.py DATABASE ROUND``.

Several tasks add lines and finish jobs at once; each prints an id once the store says that it is durable.
"""

import asyncio
import sys
from pathlib import Path

from greenroom.store import JobRecord, LineRecord, Store


def say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


async def write(store: Store, task: int, round_name: str) -> None:
    number = 0
    while True:
        line_id = f"{round_name}/{task}/{number}"
        line = LineRecord(line_id, "main", "chat", f"task {task}", float(number), f"words of {line_id} " * 20)
        if number % 3 == 0:
            await store.add_job(JobRecord(f"job {line_id}", "main", "response", {}, 0.0, command_id=f"do {line_id}"))
            await store.finish_job(f"job {line_id}", line)
        else:
            await store.add_line(line)
        say(line_id)
        number += 1


async def main(database: Path, round_name: str) -> None:
    store = await Store.open(database)
    await store.save_session("main", {"round": round_name})
    await store.add_job(JobRecord(f"left {round_name}", "main", "response", {"text": "Hi"}, 1.0))
    await store.save_partial(f"left {round_name}", "So far")
    say("ready")
    async with asyncio.TaskGroup() as tasks:
        for task in range(4):
            tasks.create_task(write(store, task, round_name))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
