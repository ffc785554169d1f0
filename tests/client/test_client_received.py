import pytest

from greenroom.client.received import Unknown, decode
from greenroom.protocol import events
from greenroom.protocol.events import Event, all_events, payload
from greenroom.values import ChunkType

SAMPLES: dict[str, Event] = {
    event.name: event
    for event in (
        events.JobStarted(job_id="j", job_type="response", args={"include_audio": True}),
        events.TextChunk(job_id="j", chunk="word ", index=0),
        events.Sentence(job_id="j", index=0, text="*nods* Yes.", speech="Yes.", extras={"emotion": "joy"}),
        events.AudioChunk(
            job_id="j", index=0, part=0, audio=b"\1\0", sr=16000, sw=2, ch=1, t_ms=0.0, duration_ms=0.1, volumes=[0.1]
        ),
        events.TextGenerated(job_id="j", text="Yes.", finish_reason="stop", usage={"completion_tokens": 2}),
        events.JobProgress(job_id="j", result={"content": "x"}),
        events.PromptBuilt(job_id="j", instruction_prompt="Be.", history=[]),
        events.Transcript(job_id="j", user="u", content="hello", final=True),
        events.ContextAdded(job_id="j", line_id="l", kind="chat", timestamp=1.0, content="c", line="[u]: c"),
        events.ContextChanged(job_id="j", line_id="l", content="c"),
        events.ToolCalled(job_id="j", tool="clock", arguments={}),
        events.ToolResult(job_id="j", tool="clock", content="noon"),
        events.Interrupted(job_id="j", heard="Ye", unheard="s."),
        events.JobFinished(
            job_id="j", job_type="response", success=True, timing={"total_ms": 1.0}, finish_reason="stop"
        ),
        events.GenerationError(job_id="j", error="no"),
        events.StateChanged(changed={"model": "m"}, by="me"),
        events.AudioDropped(from_seq=1, to_seq=2),
        events.SessionJoined(
            session="main", role="owner", epoch="e", seq=1, resumed=False, missed=0, server={}, state={}
        ),
        events.Closing(code="shutdown", message="bye"),
        events.Busy(),
        events.Buzzy(),
        events.GenerationCanceled(),
        events.InstallProgress(
            binding_name="b",
            binding_folder="b",
            model_name="m",
            model_url="https://example.org/m",
            phase="done",
            message="it is there",
            start_time="2026-11-20 12:00:00",
            total_size=9,
            downloaded_size=9,
            progress=100.0,
            speed=1.0,
        ),
    )
}


def test_every_event_of_the_protocol_has_a_sample() -> None:
    assert SAMPLES.keys() == all_events().keys()


@pytest.mark.parametrize("name", sorted(all_events()))
def test_an_event_comes_back_as_it_was_sent_and_unknown_members_do_no_harm(name: str) -> None:
    sent = SAMPLES[name]
    wire = {"seq": 7, "session": "main", **payload(sent)}
    received = decode(name, wire)
    assert received.event == sent
    assert received.name == name
    if not isinstance(sent, events.Sentence):
        assert decode(name, {**wire, "of_a_later_version": [1, 2]}).event == sent


def test_what_filters_add_rides_on_the_sentence() -> None:
    event = decode("sentence", {**payload(SAMPLES["sentence"]), "seq": 1, "session": "main", "intensity": 0.5}).event
    assert isinstance(event, events.Sentence)
    assert event.extras == {"emotion": "joy", "intensity": 0.5}


@pytest.mark.parametrize("data", [None, [], "text", 3, {}, {"job_id": 4}, {"job_id": "j", "seq": "x"}])
def test_what_cannot_be_read_is_unknown(data: object) -> None:
    received = decode("text_chunk", data)
    assert isinstance(received.event, Unknown)
    assert received.name == "text_chunk"
    assert (received.text, received.audio, received.seq) == ("", b"", None)


def test_an_event_of_a_later_version_keeps_its_job() -> None:
    received = decode("gesture", {"job_id": "j", "seq": 3, "kind": "wave"})
    assert (received.name, received.job_id, received.seq) == ("gesture", "j", 3)


def test_only_text_is_text_and_only_pcm_is_voice() -> None:
    assert decode("text_chunk", {"chunk": "hm", "type": int(ChunkType.INFO)}).text == ""
    assert decode("text_chunk", {"chunk": "hm"}).text == "hm"
    wire = payload(SAMPLES["audio_chunk"])
    assert decode("audio_chunk", wire).audio == b"\1\0"
    assert decode("audio_chunk", {**wire, "format": "opus"}).voice is None
    assert decode("audio_chunk", {**wire, "audio": b""}).voice is None
