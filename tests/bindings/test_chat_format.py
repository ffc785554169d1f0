import pytest

from greenroom.bindings.chat_format import (
    AnswerReader,
    chat_messages,
    error_message,
    image_url,
    read_image_url,
    refuse_images,
)
from greenroom.bindings.embedding_format import read_vectors
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Ended, FinishReason, Image, Message, Prompt, TextDelta, ToolCall


def delta(**fields: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def call(**fields: object) -> dict[str, object]:
    return delta(tool_calls=[fields])


def test_the_system_text_comes_first() -> None:
    prompt = Prompt("Be kind.", (Message("user", "Hi", name="Ann Lee"), Message("assistant", "Hello", name="Ada")))
    assert chat_messages(prompt) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "name": "Ada"},
    ]
    assert chat_messages(Prompt("unused", raw="Once")) == [{"role": "user", "content": "Once"}]


PIXEL = Image("image/png", b"\x89PNG")
DATA_URL = "data:image/png;base64,iVBORw=="


def test_images_stand_beside_the_text() -> None:
    prompt = Prompt(messages=(Message("user", "Look", images=(PIXEL, Image(url="https://a.example/b.png"))),))
    assert chat_messages(prompt, sees=True) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": DATA_URL}},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            ],
        }
    ]
    alone = Prompt(messages=(Message("user", "", images=(PIXEL,)),))
    assert [part["type"] for part in chat_messages(alone, sees=True)[0]["content"]] == ["image_url"]


def test_a_model_that_cannot_see_refuses_the_image_it_is_asked_about_and_no_earlier_one() -> None:
    shown = Message("user", "Look", images=(PIXEL,))
    with pytest.raises(BadRequest, match="cannot see images"):
        chat_messages(Prompt(messages=(shown, Message("assistant", "Hm"))))
    later = Prompt(messages=(shown, Message("assistant", "Nice."), Message("user", "Thanks")))
    assert [message["content"] for message in chat_messages(later)] == ["Look", "Nice.", "Thanks"]
    refuse_images(Prompt())


def test_the_address_of_an_image() -> None:
    assert read_image_url(DATA_URL) == PIXEL and image_url(PIXEL) == DATA_URL
    assert read_image_url("DATA:image/JPEG;base64,AAAA") == Image("image/jpeg", bytes(3))
    assert read_image_url("HTTPS://a.example/b") == Image(url="HTTPS://a.example/b")
    assert "PNG" not in repr(PIXEL)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:///etc/passwd", "wanted as a data URL"),
        ("/etc/passwd", "wanted as a data URL"),
        ("data:image/svg+xml;base64,AAAA", r"image/svg\+xml is not understood; known: image/png"),
        ("data:image/png;base64,???", "no base64"),
        ("data:image/png;base64,", "is empty"),
    ],
)
def test_what_is_no_image(url: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        read_image_url(url)


def test_content_in_parts() -> None:
    reader = AnswerReader("it")
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]
    assert reader.feed(delta(content=parts)) == [TextDelta("Hm.", True), TextDelta("Yes.")]
    assert reader.feed(delta(reasoning="Hm.", reasoning_content="Hm.")) == [TextDelta("Hm.", True)]
    assert list(reader.finish()) == []


def test_calls_side_by_side() -> None:
    reader = AnswerReader("it")
    reader.feed(call(index=0, id="a", function={"name": "f", "arguments": ""}))
    reader.feed(call(index=1, id="b", function={"name": "g", "arguments": '{"y"'}))
    reader.feed(call(index=0, function={"arguments": None}))
    reader.feed(call(index=1, function={"arguments": ": 2}"}))
    assert list(reader.finish()) == [ToolCall("a", "f", {}), ToolCall("b", "g", {"y": 2})]


def test_calls_without_numbers() -> None:
    reader = AnswerReader("it")
    reader.feed(call(id="a", function={"name": "f", "arguments": '{"x":'}))
    reader.feed(call(function={"arguments": "1}"}))
    reader.feed(call(id="b", function={"name": "g", "arguments": {"y": 2}}))
    assert list(reader.finish()) == [ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {"y": 2})]


@pytest.mark.parametrize("arguments", ["[1]", "nothing", '{"x": 1'])
def test_arguments_that_are_no_object(arguments: str) -> None:
    reader = AnswerReader("it")
    reader.feed(call(index=0, id="a", function={"name": "f", "arguments": arguments}))
    with pytest.raises(BindingFailed, match="it called the tool f with arguments that are no JSON object"):
        list(reader.finish())


def test_chunks_without_choices_say_nothing() -> None:
    reader = AnswerReader("it")
    assert reader.feed({"choices": [], "usage": {"total_tokens": 1}}) == []
    assert reader.feed({"usage": {}}) == []
    assert reader.feed(delta(content=None)) == []


@pytest.mark.parametrize("chunk", [None, 3, "x", [], {"choices": "x"}, {"choices": ["x"]}])
def test_nonsense_is_refused(chunk: object) -> None:
    with pytest.raises(BindingFailed, match="no part of an answer"):
        AnswerReader("it").feed(chunk)


def test_an_answer_of_thoughts_alone_is_empty() -> None:
    reader = AnswerReader("it")
    reader.feed(delta(reasoning_content="Hm."))
    reader.finish_reason = "length"
    left = reader.finish()
    assert next(left) == Ended(FinishReason.LENGTH)
    with pytest.raises(BindingFailed, match="raise max_tokens"):
        next(left)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("eos_token", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("function_call", FinishReason.TOOL_CALLS),
        ("a new word", None),
    ],
)
def test_the_end_is_told_in_our_words(word: str, reason: FinishReason | None) -> None:
    reader = AnswerReader("it")
    reader.feed(delta(content="Hi."))
    reader.feed({"choices": [{"delta": {}, "finish_reason": word}]})
    assert list(reader.finish()) == ([Ended(reason)] if reason else [])


@pytest.mark.parametrize(
    ("usage", "ended"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2}, Ended(FinishReason.STOP, 3, 2)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Ended(FinishReason.STOP)),
        ({"prompt_tokens": -1, "completion_tokens": "2"}, Ended(FinishReason.STOP)),
        ({"prompt_tokens": True, "prompt_tokens_details": 5}, Ended(FinishReason.STOP)),
        (
            {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": None},
            Ended(FinishReason.STOP, 3, None, 0),
        ),
        ([3, 2], Ended(FinishReason.STOP)),
    ],
)
def test_what_is_counted(usage: object, ended: Ended) -> None:
    """The last count is the one that counts, wherever it stands; nonsense is no count."""
    reader = AnswerReader("it")
    reader.feed({**delta(content="Hi."), "usage": None})
    reader.feed({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reader.feed({"choices": [], "usage": usage})
    reader.feed({"choices": [], "usage": None})
    assert list(reader.finish()) == [ended]


def test_errors_of_every_shape() -> None:
    assert error_message({"message": "m"}) == error_message({"error": {"message": "m"}}) == error_message("m") == "m"
    assert error_message({"detail": [{"msg": "a"}, {"msg": "b"}]}) == "a; b"
    assert error_message(None) == error_message({"code": 3}) == ""


def test_vectors_in_any_order_and_form() -> None:
    entries = [{"index": 1, "embedding": "AACAPwAAAEA="}, {"index": 0, "embedding": [3, 4]}]
    assert read_vectors({"data": entries}, 2).tolist() == [[3.0, 4.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        [{}],
        [{"embedding": []}],
        [{"embedding": "?"}],
        [{"embedding": ["x"]}],
        [{"index": 1, "embedding": [1]}],
    ],
)
def test_what_is_not_one_vector_a_text(entries: object) -> None:
    with pytest.raises(ValueError, match=r"not one vector|no list of numbers|could not convert"):
        read_vectors({"data": entries}, 1)
