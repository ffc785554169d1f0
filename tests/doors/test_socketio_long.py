"""Events that take minutes are handled beside whatever else their client sends, a few at a time."""

from fakes.running_door import RawClient, running_door
from greenroom.doors.socketio import Limits


async def test_long_events_hold_up_nothing_and_are_limited() -> None:
    async with running_door(limits=Limits(long_events=2)) as server, RawClient(server) as client:
        await (await client.open()).join()
        for number in (1, 2, 3):
            await client.send(f'42{number}["install_binding",{{"name":"wait"}}]')
        frames = [await client.frame() for _ in range(2)]
        assert "session_joined" in frames[0] or frames[0].startswith("433")
        refused = next(frame for frame in frames if frame.startswith("433"))
        assert '"code":"busy"' in refused and "2 of your installations" in refused
        await client.send('424["session_state"]')
        while not (frame := await client.frame()).startswith("434["):
            assert "install_progress" in frame
        server.sessions.main.released.set()
        answered: set[str] = set()
        while answered < {"431", "432"}:
            frame = await client.frame()
            assert '"success":true' in frame
            answered.add(frame[:3])
        await client.send('425["install_binding",{"name":"eliza"}]')
        while not (frame := await client.frame()).startswith("435["):
            pass
        assert '"success":true' in frame
