"""The events of each job, in the order and with the members that the contract gives."""

import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from fakes.jaison_clients import Frames, Rest, kinds, results
from fakes.jaison_server import CONFIG, JaisonServer, jaison_server
from session.scene import Scene


def furnished(home: Path) -> Path:
    """A home with prompt files and a configuration by name."""
    for kind, text in (("instructions", "Answer in verse."), ("characters", "A bard."), ("scenes", "A tavern.")):
        folder = home / "prompts" / kind
        folder.mkdir(parents=True)
        (folder / "example.txt").write_text(text, encoding="utf-8")
    (home / "configs").mkdir()
    # With the same operations: sessions that are made later begin with these.
    (home / "configs" / "evening.yaml").write_text(CONFIG + "prompter: {history_length: 7}\n", encoding="utf-8")
    (home / "configs" / "foreign.yaml").write_text("prompter: {nope: 1}\ncolour: red\n", encoding="utf-8")
    return home


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[JaisonServer, None]:
    async with jaison_server(furnished(tmp_path / "home")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[JaisonServer, None]:
    """One server for jobs that each have a session of their own."""
    async with jaison_server(furnished(tmp_path_factory.mktemp("shared") / "home")) as running:
        yield running


async def told_of(server: JaisonServer, method: str, path: str, body: Any) -> list[dict[str, Any]]:
    """Every event of this one job, in a new session."""
    den = f"den-{uuid4()}"
    async with Frames.open(server.ws_url, session=den) as frames:
        rest = Rest(server.url)
        job_id = await rest.job(method, f"{path}?session={den}", body)
        rest.close()
        return await frames.job(job_id)


@pytest.fixture
async def frames(server: JaisonServer) -> AsyncGenerator[Frames, None]:
    async with Frames.open(server.ws_url) as found:
        yield found


@pytest.fixture
async def rest(server: JaisonServer) -> AsyncGenerator[Rest, None]:
    found = Rest(server.url)
    yield found
    found.close()


async def say(rest: Rest, text: str, **body: Any) -> str:
    await rest.job("POST", "context/conversation/text", {"user": "Ana", "content": f"say {text}", "timestamp": 5})
    return await rest.job("POST", "response", body)


async def test_a_response(rest: Rest, frames: Frames) -> None:
    events = await frames.job(await say(rest, "First things first. Then the rest."))
    assert events[0]["start"] == {"include_audio": True}
    assert kinds(events)[:3] == ["instruction_prompt", "history", "content"]
    assert {"raw_content": "First things first. Then the rest. "} in results(events)
    (history,) = [result["history"] for result in results(events) if "history" in result]
    assert history == [
        {"type": "chat", "user": "Ana", "time": 5.0, "message": "say First things first. Then the rest."}
    ]
    spoken = [next(iter(result)) for result in results(events) if "content" in result or "audio_bytes" in result]
    first = spoken.index("content", 1)
    assert "audio_bytes" in spoken[1:first] and "audio_bytes" in spoken[first:], "each content, then its sound"
    assert events[-1] == {**events[-1], "finished": True, "success": True}
    assert list(events[-1]) == ["message", "job_id", "finished", "success"]


async def test_an_answer_is_in_the_script_as_the_characters_line(rest: Rest, frames: Frames) -> None:
    await frames.job(await say(rest, "A first answer."))
    events = await frames.job(await say(rest, "A second answer."))
    (history,) = [result["history"] for result in results(events) if "history" in result]
    assert [(one["type"], one["user"], one["message"]) for one in history] == [
        ("chat", "Ana", "say A first answer."),
        ("chat", "Robin", "A first answer."),
        ("chat", "Ana", "say A second answer."),
    ]


async def test_without_a_voice_nothing_is_spoken_and_start_says_so(rest: Rest, frames: Frames) -> None:
    await rest.job("POST", "operations/unload", {"ops": [{"role": "tts"}]})
    events = await frames.job(await say(rest, "Only words.", include_audio=True))
    assert events[0]["start"] == {"include_audio": False}
    assert not any("audio_bytes" in result for result in results(events))
    await rest.job("POST", "operations/load", {"ops": [{"role": "tts", "id": "scripted"}]})
    assert (await frames.job(await say(rest, "Sound again.")))[0]["start"] == {"include_audio": True}


async def test_what_filters_add_rides_on_content(rest: Rest, frames: Frames) -> None:
    await rest.job("POST", "operations/load", {"ops": [{"role": "filter_text", "id": "scripted"}]})
    events = await frames.job(await say(rest, "Watch out! All is well.", include_audio=False))
    told = [result for result in results(events) if "content" in result]
    assert told == [{"content": "Watch out!", "loud": True}, {"content": "All is well.", "loud": False}]
    assert [list(result) for result in told] == [["content", "loud"]] * 2


CUSTOM = {"context_id": "news", "context_name": "News", "context_description": None}
UNSET = dict.fromkeys(
    (
        "name_translations",
        "character_name",
        "history_length",
        "instruction_prompt_filename",
        "character_prompt_filename",
        "scene_prompt_filename",
    )
)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("request_", "message", "start", "told"),
    [
        (("DELETE", "context", None), "context_clear", {}, []),
        (
            ("PUT", "context/config", {"history_length": 9, "scene_prompt_filename": "example"}),
            "context_configure",
            {**UNSET, "history_length": 9, "scene_prompt_filename": "example"},
            [],
        ),
        (
            ("POST", "context/conversation/text", {"user": "Ana", "content": "Two\nlines", "timestamp": 1.25}),
            "context_conversation_add_text",
            {"user": "Ana", "timestamp": 1.25, "content": "Two\nlines"},
            [{"user": "Ana", "timestamp": 1.25, "content": "Two lines", "line": "[Ana]: Two lines"}],
        ),
        (
            ("POST", "context/conversation/text", {"user": "Ana", "content": "grüße \U0001f600", "timestamp": 7}),
            "context_conversation_add_text",
            {"user": "Ana", "timestamp": 7, "content": "grüße \U0001f600"},
            [{"user": "Ana", "timestamp": 7.0, "content": "grüße \U0001f600", "line": "[Ana]: grüße \U0001f600"}],
        ),
        (
            ("PUT", "context/custom", {"context_id": "news", "context_name": "News"}),
            "context_custom_register",
            CUSTOM,
            [],
        ),
        (
            ("POST", "operations/load", {"ops": [{"role": "filter_text", "id": "scripted", "loose_key": [1]}]}),
            "operation_load",
            {"ops": [{"role": "filter_text", "id": "scripted", "loose_key": [1]}]},
            [{"role": "filter_text", "id": "scripted", "loose_key": [1]}],
        ),
        (
            ("POST", "operations/config", {"ops": [{"role": "tts", "id": "scripted", "voice": "deep"}]}),
            "operation_configure",
            {"ops": [{"role": "tts", "id": "scripted", "voice": "deep"}]},
            [{"role": "tts", "id": "scripted", "voice": "deep"}],
        ),
        (
            ("POST", "operations/unload", {"ops": [{"role": "t2t"}, {"role": "stt", "id": "scripted"}]}),
            "operation_unload",
            {"ops": [{"role": "t2t"}, {"role": "stt", "id": "scripted"}]},
            [{"role": "t2t", "id": "scripted"}, {"role": "stt", "id": "scripted"}],
        ),
        (
            ("POST", "operations/load", {"ops": [{"role": "stt", "id": "scripted", "config": {}, "loose_key": None}]}),
            "operation_load",
            {"ops": [{"role": "stt", "id": "scripted", "config": {}, "loose_key": None}]},
            [{"role": "stt", "id": "scripted", "loose_key": None}],
        ),
        (
            ("POST", "operations/unload", {"ops": [{"role": "stt", "id": None}]}),
            "operation_unload",
            {"ops": [{"role": "stt", "id": None}]},
            [{"role": "stt", "id": "scripted"}],
        ),
        (("POST", "operations/reload", None), "operation_reload_from_config", {}, []),
        (
            (
                "POST",
                "operations/use",
                {"role": "t2t", "payload": {"messages": [{"type": "raw", "message": "say a b"}]}},
            ),
            "operation_use",
            {"role": "t2t", "id": None},
            [{"content": "a "}, {"content": "b "}],
        ),
        (
            ("PUT", "config/load", {"config_name": "evening"}),
            "config_load",
            {"config_name": "evening"},
            [],
        ),
        (
            ("PUT", "config/update", {"config_d": {"prompter": {"history_length": 8}}}),
            "config_update",
            {"config_d": {"prompter": {"history_length": 8}}},
            [],
        ),
        (("POST", "config/save", {"config_name": "saved"}), "config_save", {"config_name": "saved"}, []),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
async def test_the_other_jobs(
    shared: JaisonServer, request_: tuple[str, str, Any], message: str, start: Any, told: list[Any]
) -> None:
    events = await told_of(shared, *request_)
    assert {one["message"] for one in events} == {message}
    assert events[0]["start"] == start and list(events[0]["start"]) == list(start)
    assert results(events) == told
    assert [list(result) for result in results(events)] == [list(result) for result in told]
    end = {"message": message, "job_id": events[0]["job_id"], "finished": True, "success": True}
    assert events[-1] == end


@pytest.mark.parametrize("moment", [7, 7.0, 7.5])
async def test_a_moment_is_told_as_it_was_given(rest: Rest, frames: Frames, moment: float) -> None:
    line = {"user": "Ana", "content": "Hi.", "timestamp": moment}
    await frames.job(await rest.job("POST", "context/conversation/text", line))
    assert f'"start": {{"user": "Ana", "timestamp": {moment}, "content": "Hi."}}' in frames.texts[0]
    assert f'"timestamp": {float(moment)}, "content": "Hi.", "line"' in frames.texts[1]


async def test_a_request_and_a_custom_line(rest: Rest, frames: Frames) -> None:
    events = await frames.job(await rest.job("POST", "context/request", {"content": "Sing."}))
    assert events[0]["start"] == {"content": "Sing."}
    (told,) = results(events)
    assert list(told) == ["timestamp", "content", "line"]
    assert isinstance(told["timestamp"], float) and told["line"] == "[REQUEST]: Sing."
    await rest.job("PUT", "context/custom", {"context_id": "news", "context_name": "News"})
    add = {"context_id": "news", "context_contents": "Rain.", "timestamp": 3}
    events = await frames.job(await rest.job("POST", "context/custom", add))
    assert events[0]["start"] == add
    assert results(events) == [{"timestamp": 3.0, "content": "Rain.", "line": "[CONTEXT#News]: Rain."}]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("request_", "kind", "reason"),
    [
        (
            ("POST", "operations/load", {"ops": [{"role": "t2t", "id": "x"}]}),
            "operation_unknown_id",
            "No operation of type T2T with id x",
        ),
        *(
            (("POST", path, body), "operation_unknown_role", "No operation of role nope")
            for path, body in (
                ("operations/load", {"ops": [{"role": "nope", "id": "scripted"}]}),
                ("operations/unload", {"ops": [{"role": "nope", "id": None}]}),
                ("operations/config", {"ops": [{"role": "nope", "id": "scripted", "voice": "x"}]}),
                ("operations/use", {"role": "nope", "payload": {"content": "x"}}),
            )
        ),
        (
            ("POST", "operations/load", {"ops": [{"role": "mcp", "id": "x"}]}),
            "operation_unknown_id",
            "No operation of type T2T with id x",
        ),
        (
            ("POST", "operations/load", {"ops": [{"role": "filter_text", "id": "scripted"}] * 2}),
            "operation_duplicate",
            "Can not add already active FILTER_TEXT scripted",
        ),
        (
            ("POST", "operations/unload", {"ops": [{"role": "embedding"}]}),
            "operation_unloaded",
            "No operation of type EMBEDDING loaded",
        ),
        (
            ("POST", "operations/unload", {"ops": [{"role": "filter_audio", "id": "pitch"}]}),
            "operation_unloaded",
            "No operation FILTER_AUDIO with id pitch loaded",
        ),
        (
            ("POST", "operations/use", {"role": "mcp", "payload": {"messages": []}}),
            "operation_unloaded",
            "No operation of type MCP loaded",
        ),
        (
            ("POST", "operations/use", {"role": "tts", "id": "x", "payload": {"content": "hi"}}),
            "operation_unknown_id",
            "No operation of type TTS with id x",
        ),
        (
            ("PUT", "config/load", {"config_name": "../../etc/passwd"}),
            "config_unknown_file",
            "Config file ../../etc/passwd does not exist",
        ),
        (
            ("PUT", "config/load", {"config_name": "foreign"}),
            "config_unknown_field",
            "Config field prompter.nope, colour does not exist",
        ),
        (
            ("PUT", "config/update", {"config_d": {"prompter": {"nope": 1}}}),
            "config_unknown_field",
            "Config field prompter.nope does not exist",
        ),
        (("PUT", "config/update", {"config_d": {"nope": 1}}), "config_unknown_field", "Config field nope does not"),
        (
            ("POST", "context/custom", {"context_id": "gone", "context_contents": "x", "timestamp": 1}),
            "unknown",
            "no custom context 'gone' is registered",
        ),
        (("DELETE", "context/custom", {"context_id": "gone"}), "unknown", "no custom context 'gone' is registered"),
        (("PUT", "context/config", {"scene_prompt_filename": "../secret"}), "unknown", "there is no scene prompt file"),
        (
            ("POST", "operations/config", {"ops": [{"role": "tts", "id": "scripted", "ms_per_character": "slow"}]}),
            "unknown",
            "scripted",
        ),
    ],
    ids=lambda value: f"{value[1]}" if isinstance(value, tuple) else None,
)
async def test_what_can_go_wrong(shared: JaisonServer, request_: tuple[str, str, Any], kind: str, reason: str) -> None:
    end = (await told_of(shared, *request_))[-1]
    assert list(end) == ["message", "job_id", "finished", "success", "result"]
    assert end["finished"] is True and end["success"] is False
    assert list(end["result"]) == ["type", "reason"]
    assert end["result"]["type"] == kind
    assert end["result"]["reason"].startswith(reason)


async def test_the_first_failing_operation_ends_the_job_and_the_earlier_ones_stay(rest: Rest, frames: Frames) -> None:
    ops = [{"role": "filter_text", "id": "scripted"}, {"role": "t2t", "id": "x"}, {"role": "embedding", "id": "y"}]
    events = await frames.job(await rest.job("POST", "operations/load", {"ops": ops}))
    assert results(events) == [{"role": "filter_text", "id": "scripted", "loose_key": None}]
    assert events[-1]["success"] is False
    assert (await rest("GET", "operations")).json()["response"]["filter_text"] == ["scripted"]


async def test_a_refused_setting_is_not_in_force(rest: Rest, frames: Frames, server: JaisonServer) -> None:
    ops = [{"role": "tts", "id": "scripted", "voice": "deep", "ms_per_character": "slow"}]
    assert not (await frames.job(await rest.job("POST", "operations/config", {"ops": ops})))[-1]["success"]
    listed = await Scene(server.greenroom, server.session).ask("list_operations")
    assert {"role": "tts", "id": "scripted", "config": {}} in listed["options"]


async def test_the_uses_of_each_role(rest: Rest, frames: Frames) -> None:
    async def use(role: str, payload: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        body = {"role": role, "payload": payload, **more}
        events = await frames.job(await rest.job("POST", "operations/use", body))
        assert events[-1]["success"], events[-1]
        return results(events)

    sound = {"audio_bytes": base64.b64encode(b"say hello there").decode(), "sr": 16_000, "sw": 1, "ch": 1}
    assert await use("stt", sound) == [{"transcription": "say hello there"}]
    spoken = await use("tts", {"content": "Hello."})
    assert list(spoken[0]) == ["audio_bytes", "sr", "sw", "ch"]
    assert len(base64.b64decode(spoken[0]["audio_bytes"])) == 960
    # Neither of these is loaded: each is, for this one use.
    assert await use("filter_text", {"content": "Hi!"}, id="scripted") == [{"content": "Hi!", "loud": True}]
    assert await use("filter_text", {"content": "as it was"}) == [{"content": "as it was"}], "an empty chain"
    assert (await rest("GET", "operations")).json()["response"]["filter_text"] == []
    custom = {"type": "custom", "id": "news", "time": 1, "message": "say all right"}
    assert await use("t2t", {"instruction_prompt": "", "messages": [custom]}) == [
        {"content": "all "},
        {"content": "right "},
    ]


async def test_the_mcp_role_loads_any_text_model_and_unloads_alone(rest: Rest, frames: Frames) -> None:
    await frames.job(await rest.job("POST", "operations/load", {"ops": [{"role": "mcp", "id": "scripted"}]}))
    loaded = (await rest("GET", "operations")).json()["response"]
    assert (loaded["mcp"], loaded["t2t"]) == ("scripted", "scripted")
    body = {"role": "mcp", "payload": {"instruction_prompt": "", "messages": [{"type": "raw", "message": "say ok"}]}}
    assert results(await frames.job(await rest.job("POST", "operations/use", body))) == [{"content": "ok "}]
    await frames.job(await rest.job("POST", "operations/unload", {"ops": [{"role": "t2t"}]}))
    loaded = (await rest("GET", "operations")).json()["response"]
    assert (loaded["mcp"], loaded["t2t"]) == ("scripted", "unknown")
    await frames.job(await rest.job("POST", "operations/unload", {"ops": [{"role": "mcp", "id": None}]}))
    assert (await rest("GET", "operations")).json()["response"]["mcp"] == "unknown"


async def test_prompt_files_count_at_once_with_and_without_their_ending(rest: Rest, frames: Frames) -> None:
    async def prompt() -> str:
        events = await frames.job(await say(rest, "Hm.", include_audio=False))
        return str(next(result["instruction_prompt"] for result in results(events) if "instruction_prompt" in result))

    await rest.job(
        "PUT",
        "context/config",
        {
            "instruction_prompt_filename": "example.txt",
            "character_prompt_filename": "example",
            "scene_prompt_filename": "example.txt",
            "character_name": "Bard",
        },
    )
    text = await prompt()
    assert text.index("Answer in verse.") < text.index("A bard.") < text.index("A tavern.")
    assert "robin redbreast" not in text
    await rest.job("PUT", "context/custom", {"context_id": "n", "context_name": "News", "context_description": "new"})
    assert "News: new" in await prompt()


async def test_names_are_translated_when_a_line_comes_in(rest: Rest, frames: Frames, server: JaisonServer) -> None:
    body = {"name_translations": {"xX_ana_Xx": "Ana", "Robin": "Rob"}}
    await rest.job("PUT", "context/config", body)
    text = {"user": "xX_ana_Xx", "content": "say Hello.", "timestamp": 1}
    added = await frames.job(await rest.job("POST", "context/conversation/text", text))
    assert added[0]["start"]["user"] == "xX_ana_Xx"
    assert results(added)[0]["user"] == "Ana"
    await frames.job(await rest.job("POST", "response", {"include_audio": False}))
    script = [server.session.context.script_line(line) for line in server.session.context.lines]
    assert script == ["[Ana]: say Hello.", "[Rob]: Hello."]


async def test_the_script_keeps_so_many_lines(rest: Rest, frames: Frames, server: JaisonServer) -> None:
    await rest.job("PUT", "context/config", {"history_length": 2})
    for number in range(4):
        job_id = await rest.job("POST", "context/request", {"content": str(number)})
    await frames.job(job_id)
    assert [line.content for line in server.session.context.lines] == ["2", "3"]


async def test_a_queued_job_can_be_cancelled(rest: Rest, frames: Frames) -> None:
    await rest.job("POST", "context/conversation/text", {"user": "Ana", "content": "hang on", "timestamp": 1})
    running = await rest.job("POST", "response")
    queued = await rest.job("POST", "context/request", {"content": "never"})
    assert (await rest("DELETE", "job", {"job_id": queued})).status_code == 200
    assert (await rest("DELETE", "job", {"job_id": running, "reason": "enough"})).status_code == 200
    events = await frames.job(queued)
    assert [list(one)[2] for one in events] == ["start", "finished"]
    assert events[-1]["result"] == {"type": "job_cancelled", "reason": f"Setting job {queued} to cancel"}
    end = (await frames.job(running))[-1]["result"]
    assert end == {"type": "job_cancelled", "reason": f"Setting job {running} to cancel because enough"}
