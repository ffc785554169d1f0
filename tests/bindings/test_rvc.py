"""Voice conversion over RVC's own networks with few, random weights: joins, length, files, and what may go wrong."""

import asyncio
import itertools
import pickle
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from e2e.promises import check_turn
from e2e.visitor import pcm_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.isolation_rig import isolated
from fakes.server_process import running_server
from fakes.tiny_rvc import RATE, put_rvc, tiny_rvc
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, NotFound, Unavailable
from greenroom.values import Audio, Role

Samples = NDArray[np.float64]
PM = {"voice": "ana", "f0_method": "pm"}
"""the quickest that needs no further model"""
BLOCK = round(RATE * 0.8)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # infer-rvc-python uses what torch means to drop
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    put_rvc(tmp_path / "assets")
    return Places(models=tmp_path / "models", assets=tmp_path / "assets")


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("rvc").operation(Role.FILTER_AUDIO)


def parsed(**options: Any) -> Any:
    return parse_options(operation_type(), {"voice": "ana", **options}, "rvc")


def hum(rate: int, seconds: float, hertz: float = 220, width: int = 2, channels: int = 1) -> Audio:
    """With overtones, as a voice has them."""
    at = np.arange(round(rate * seconds)) / rate
    wave = np.repeat(sum(0.3 / over * np.sin(2 * np.pi * hertz * over * at) for over in range(1, 6)), channels)
    if width == 1:
        return Audio((wave * 127 + 128).astype(np.uint8).tobytes(), rate, width, channels)
    if width == 3:
        wide = (wave * 8_388_607).astype("<i4").view(np.uint8).reshape(-1, 4)
        return Audio(wide[:, :3].tobytes(), rate, width, channels)
    scale, kind = (32_767, "<i2") if width == 2 else (2_147_483_647, "<i4")
    return Audio((wave * scale).astype(kind).tobytes(), rate, width, channels)


async def cut(audio: Audio, sizes: tuple[int, ...] = (882, 1, 3001)) -> AsyncGenerator[Audio, None]:
    """Anywhere, in the middle of frames too."""
    at, size = 0, itertools.cycle(sizes)
    while at < len(audio.pcm):
        step = next(size)
        yield Audio(audio.pcm[at : at + step], audio.sample_rate, audio.sample_width, audio.channels)
        at += step


async def converted(operation: Any, source: AsyncIterator[Audio]) -> list[Audio]:
    return [piece async for piece in operation.apply(source)]


def wave_of(pieces: list[Audio]) -> Samples:
    return np.frombuffer(b"".join(piece.pcm for piece in pieces), "<i2").astype(float) / 32_768


def loudest_hertz(wave: Samples, rate: int) -> float:
    middle = wave[len(wave) // 5 : -len(wave) // 5]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 4 * len(middle)))
    low, high = (hertz * 4 * len(middle) // rate for hertz in (60, 900))
    spectrum[:low] = spectrum[high:] = 0  # where a random network makes noise of its own
    return float(np.argmax(spectrum) * rate / (4 * len(middle)))


def frames(pieces: list[Audio]) -> int:
    return sum(len(piece.pcm) // 2 for piece in pieces)


async def test_the_voice_sounds_as_long_as_what_was_spoken(places: Places) -> None:
    """The random voice hums whatever it is told, at the pitch that it is told."""
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        made = await converted(voice, cut(hum(22_050, 2.5)))
    assert {(piece.sample_rate, piece.sample_width, piece.channels) for piece in made} == {(RATE, 2, 1)}
    assert frames(made) == RATE * 2.5
    assert len(made) == 4
    assert loudest_hertz(wave_of(made), RATE) == pytest.approx(220, rel=0.02)


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(16_000, 2, 1), (48_000, 4, 2), (8000, 1, 1), (44_100, 3, 1), (24_000, 2, 6)]
)
async def test_any_format_goes_in(places: Places, rate: int, width: int, channels: int) -> None:
    source = hum(rate, 1.337, 200, width, channels)
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        made = await converted(voice, cut(source))
    assert frames(made) == pytest.approx(RATE * source.duration_ms / 1000, abs=1)
    assert loudest_hertz(wave_of(made), RATE) == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize("samples", [0, 1, 15, 700, 5000])
async def test_short_sound_keeps_its_length(places: Places, samples: int) -> None:
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        made = await converted(voice, cut(Audio(hum(16_000, 1).pcm[: 2 * samples], 16_000), (64,)))
    assert frames(made) == (2 * samples * RATE + 16_000) // 32_000


def low(wave: Samples) -> Samples:
    """Without the 10 and 20 kHz that a random network makes by itself."""
    return np.convolve(wave, np.ones(8) / 8, "valid")


async def test_nobody_hears_where_blocks_meet(places: Places) -> None:
    """No step at a join is steeper than the steps elsewhere, and nothing is louder or softer there."""
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "voice": "bea"}, places) as voice:
        wave = low(wave_of(await converted(voice, cut(hum(24_000, 6)))))
    steps = np.abs(np.diff(wave))
    joins = np.zeros(len(steps), bool)
    for join in range(BLOCK, len(wave), BLOCK):
        joins[join - RATE // 100 : join + RATE // 20] = True
    assert joins.sum() > 10_000
    assert steps[joins].max() <= 1.1 * steps[~joins].max()
    periods = wave[: len(wave) // 2000 * 2000].reshape(-1, 2000)  # each is 11 of the tone's
    loudness = np.sqrt((periods**2).mean(axis=1))[2:-2]
    assert loudness.min() > 0.8 * loudness.max()


async def test_joins_without_a_crossfade_would_be_heard(places: Places) -> None:
    """That the test above can fail: sounds of the same voice put end to end make steps."""
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "voice": "bea"}, places) as voice:
        parts = [wave_of(await converted(voice, cut(hum(24_000, 0.5 + at / 1000)))) for at in range(5)]
        smooth = low(wave_of(await converted(voice, cut(hum(24_000, 3)))))
    steps = np.abs(np.diff(low(np.concatenate(parts))))
    assert steps.max() > 1.5 * np.abs(np.diff(smooth)).max()


async def test_the_first_block_sounds_before_the_last_is_spoken(places: Places) -> None:
    heard = asyncio.Event()

    async def source() -> AsyncGenerator[Audio, None]:
        async for piece in cut(hum(24_000, 1.2), (960,)):
            yield piece
        async with asyncio.timeout(60):
            await heard.wait()
        yield hum(24_000, 0.5)

    made = []
    async with (
        open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice,
        aclosing(voice.apply(source())) as out,
    ):
        async for piece in out:
            made.append(piece)
            heard.set()
    assert frames(made) == RATE * 1.7


@pytest.mark.parametrize(
    ("options", "hertz"),
    [
        ({"f0_method": "rmvpe"}, None),
        ({"f0_method": "harvest"}, 220),
        ({"f0_up_key": 12}, 440),
        ({"f0_up_key": -12, "protect": 0.1}, 110),
        ({"voice": "bea.pth"}, 220),
        ({"voice": "Mute", "rms_mix_rate": 1}, None),
        ({"index_rate": 0.75, "rms_mix_rate": 0.25, "protect": 0.33}, 220),
        ({"resample_sr": 24_000}, 220),
        ({"speaker_id": 1, "block_ms": 300, "context_ms": 200, "crossfade_ms": 10}, 220),
    ],
)
async def test_every_setting_does_its_work(places: Places, options: dict[str, Any], hertz: float | None) -> None:
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, **options}, places) as voice:
        made = await converted(voice, cut(hum(22_050, 1.6)))
    rate = options.get("resample_sr") or RATE
    assert {piece.sample_rate for piece in made} == {rate}
    assert frames(made) == round(rate * 1.6)
    if hertz is not None:
        assert loudest_hertz(wave_of(made), rate) == pytest.approx(hertz, rel=0.03)


async def test_loudness_follows_what_was_spoken(places: Places) -> None:
    quiet, loud = hum(16_000, 2), hum(16_000, 2)
    faded = (np.frombuffer(quiet.pcm, "<i2") * 0.1).astype("<i2").tobytes()
    source = Audio(faded + loud.pcm, 16_000)
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        wave = wave_of(await converted(voice, cut(source)))
    first, second = (np.sqrt((part**2).mean()) for part in (wave[: RATE // 2 * 3], wave[-RATE // 2 * 3 :]))
    assert second / first == pytest.approx(10, rel=0.2)


async def test_pitches_from_a_file(places: Places, tmp_path: Path) -> None:
    file = tmp_path / "song.csv"
    file.write_text("0,330\n1.0,330\n2.0,330\n", encoding="utf-8")
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "f0_file": str(file)}, places) as voice:
        made = await converted(voice, cut(hum(16_000, 1.9)))
    assert loudest_hertz(wave_of(made), RATE) == pytest.approx(330, rel=0.02)


@pytest.mark.parametrize(
    ("text", "reason"), [("", "is empty"), ("a,b", "holds no pitches"), ("1,2,3", "no pitches"), ("-1,2", "range")]
)
async def test_a_file_that_holds_no_pitches(places: Places, tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "song.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=reason):
        async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "f0_file": str(file)}, places):
            raise AssertionError


async def test_silence_stays_silent(places: Places) -> None:
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        made = await converted(voice, cut(Audio(bytes(48_000), 24_000)))
    assert frames(made) == RATE and not np.any(wave_of(made))


async def test_two_sessions_share_one_voice(places: Places) -> None:
    async with open_engines(places) as engines:
        one = await engines.load("rvc", Role.FILTER_AUDIO, PM)
        two = await engines.load("rvc", Role.FILTER_AUDIO, {**PM, "f0_up_key": 12})
        assert one.operation.engine is two.operation.engine and engines.open_count == 1
        low, high = await asyncio.gather(
            *(converted(loaded.operation, cut(hum(16_000, 2, 150))) for loaded in (one, two))
        )
        assert loudest_hertz(wave_of(low), RATE) == pytest.approx(150, rel=0.03)
        assert loudest_hertz(wave_of(high), RATE) == pytest.approx(300, rel=0.03)
        await one.release()
        assert frames(await converted(two.operation, cut(hum(16_000, 1)))) == RATE
        await two.release()


async def test_closing_stops_before_the_next_block(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        converter = voice.engine.converter
        calls = 0
        real = converter._convert

        def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return real(*arguments)

        monkeypatch.setattr(converter, "_convert", counted)
        async with aclosing(voice.apply(cut(hum(24_000, 20), (960_000,)))) as out:
            await anext(out)
        await voice.engine.worker.call(lambda: None)
        assert calls == 1
        assert frames(await converted(voice, cut(hum(16_000, 0.5)))) == RATE // 2


async def test_a_change_of_format_starts_a_new_stretch(places: Places) -> None:
    async def source() -> AsyncGenerator[Audio, None]:
        yield hum(16_000, 0.5)
        yield hum(24_000, 0.7, 220, 2, 2)

    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        assert frames(await converted(voice, source())) == round(RATE * 1.2)


@pytest.mark.parametrize("audio", [Audio(b"\0\0", 100), Audio(b"\0" * 66, 16_000, 2, 33), Audio(b"\0" * 5, 16_000, 5)])
async def test_sound_of_no_format_is_refused(places: Places, audio: Audio) -> None:
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:
        with pytest.raises(BadRequest):
            await converted(voice, cut(audio))


async def test_a_network_that_fails_says_so(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places) as voice:

        def broken(*_: object) -> None:
            raise RuntimeError("CUDA out of memory")

        monkeypatch.setattr(voice.engine.converter, "_convert", broken)
        with pytest.raises(BindingFailed, match="voice conversion failed: CUDA out of memory"):
            await converted(voice, cut(hum(16_000, 1)))


# options


def test_the_defaults_are_jaisons() -> None:
    wanted = {
        "voice": "ana",
        "f0_up_key": 0,
        "f0_method": "rmvpe",
        "f0_file": None,
        "index_file": None,
        "index_rate": 0,
        "filter_radius": 3,
        "resample_sr": 0,
        "rms_mix_rate": 0,
        "protect": 0.5,
    }
    assert wanted.items() <= parsed().model_dump().items()


def test_the_documents_examples_load() -> None:
    options = parsed(f0_up_key=2, index_rate=0.75, rms_mix_rate=0.25, protect=0.33, index_file="models/rvc/a.index")
    assert (options.index_rate, options.rms_mix_rate, options.protect) == (0.75, 0.25, 0.33)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("voice", ""),
        ("f0_method", "dio"),
        ("index_rate", 1.5),
        ("protect", 0.6),
        ("rms_mix_rate", -0.1),
        ("resample_sr", 8000),
        ("device", "tpu"),
        ("block_ms", 10),
        ("colour", "red"),
    ],
)
def test_wrong_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=option):
        parsed(**{option: value})


def test_paths_are_the_owners() -> None:
    fields = operation_type().Options.model_json_schema()["properties"]
    owners = {name for name, field in fields.items() if field.get("access") == "owner"}
    assert owners == {"f0_file", "index_file"}


def test_nothing_heavy_is_imported_for_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("infer_rvc_python", "faiss")]:
        monkeypatch.delitem(sys.modules, name)
    parsed()
    assert "infer_rvc_python" not in sys.modules and "faiss" not in sys.modules


# files


async def refused(places: Places, kind: type[Exception], reason: str, **options: Any) -> None:
    with pytest.raises(kind, match=reason):
        async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, **options}, places):
            raise AssertionError


@pytest.mark.parametrize("name", ["../ana", "weights/ana", "/etc/passwd", "..", "ana/../ana", "nobody"])
async def test_a_name_is_never_a_path(places: Places, name: str) -> None:
    await refused(places, NotFound, r"there are: ana, bea, mute", voice=name)


async def test_where_voices_may_lie(tmp_path: Path) -> None:
    models = tmp_path / "models" / "rvc"
    for name in ("one.pth", "weights/two.pth", "three/three.pth", "pretrained_v2/f0G40k.pth", ".downloads/part.pth"):
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_rvc() / "weights" / "ana.pth", models / name)
    shutil.copytree(tiny_rvc() / "hubert_base", models / "r3gm" / "hubert_base")
    places = Places(models=tmp_path / "models", assets=tmp_path / "none")
    place = places.place(BindingShelf((BINDINGS,)).get("rvc"))
    found = await operation_type().models(parsed(), place)
    assert [model.name for model in found] == ["one", "three", "two"]
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "voice": "THREE"}, places) as voice:
        assert frames(await converted(voice, cut(hum(16_000, 0.3)))) == RATE * 0.3


async def test_no_voice_at_all_says_where_they_belong(tmp_path: Path) -> None:
    places = Places(models=tmp_path / "models", assets=tmp_path / "assets")
    await refused(places, Unavailable, r"put its \.pth file into .*assets.rvc.weights or .*models.rvc")


@pytest.mark.parametrize(
    ("gone", "options", "command"),
    [
        ("hubert_base", {}, "greenroom install model rvc hubert_base"),
        ("rmvpe", {"f0_method": "rmvpe"}, "greenroom install model rvc rmvpe"),
    ],
)
async def test_missing_weights_name_the_command(
    places: Places, gone: str, options: dict[str, Any], command: str
) -> None:
    shutil.rmtree(places.assets / "rvc" / gone)
    await refused(places, Unavailable, command, **options)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harmed"),)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
async def test_a_voice_that_holds_code_is_refused(
    places: Places, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    path = places.assets / "rvc" / "weights" / "evil.pth"
    if kind == "torch":
        torch.save({"weight": _Evil(), "config": []}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": _Evil(), "config": []}))
    await refused(places, Unavailable, "evil.pth is refused", voice="evil")
    assert not (tmp_path / "harmed").exists()


async def test_files_that_are_damaged_or_something_else(places: Places) -> None:
    import torch

    weights = places.assets / "rvc" / "weights"
    (weights / "cut.pth").write_bytes((weights / "ana.pth").read_bytes()[:5000])
    await refused(places, Unavailable, r"cut\.pth is (no whole RVC voice|refused)", voice="cut")
    torch.save({"model": {}}, weights / "other.pth")
    await refused(places, Unavailable, "is no RVC voice that can speak", voice="other")
    whole = torch.load(weights / "ana.pth", weights_only=True)
    torch.save({**whole, "version": "v9"}, weights / "new.pth")
    await refused(places, Unavailable, "version 'v9'", voice="new")
    torch.save({**whole, "weight": {"emb_g.weight": whole["weight"]["emb_g.weight"]}}, weights / "hollow.pth")
    await refused(places, Unavailable, r"hollow\.pth does not load: it lacks \d+ weights", voice="hollow")
    torch.save({**whole, "config": [*whole["config"][:-1], "40k"]}, weights / "odd.pth")
    await refused(places, Unavailable, "its config is not one of RVC's", voice="odd")
    (places.assets / "rvc" / "rmvpe" / "rmvpe.pt").write_bytes(b"no weights")
    await refused(places, Unavailable, "RMVPE in .* does not load", f0_method="rmvpe")
    (places.assets / "rvc" / "hubert_base" / "model.safetensors").write_bytes(b"no weights")
    await refused(places, Unavailable, "HuBERT in .* does not load")


async def test_voices_that_were_made_by_applio(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    """It writes down what it used; what only it has is named."""
    import torch

    path = places.assets / "rvc" / "weights" / "ana.pth"
    voice = torch.load(path, weights_only=True)
    torch.save({**voice, "sr": RATE, "vocoder": "RefineGAN"}, path)
    await refused(places, Unavailable, "was made with Applio's vocoder RefineGAN; voices of HiFi-GAN can speak")
    newer = {
        name.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): weight
        for name, weight in voice["weight"].items()
    }
    assert newer.keys() != voice["weight"].keys()
    made = {"weight": newer, "f0": True, "vocoder": "HiFi-GAN", "embedder_model": "japanese-hubert-base"}
    torch.save({**voice, **made}, path)
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places):
        assert "made to hear with japanese-hubert-base" in caplog.text


async def test_a_hubert_that_is_not_rvcs(places: Places) -> None:
    """It lacks the layer that voices of v1 need, which would be filled by lot without a word."""
    from safetensors.torch import load_file, save_file

    path = places.assets / "rvc" / "hubert_base" / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("final_proj")}
    save_file(weights, path, {"format": "pt"})
    await refused(places, Unavailable, "is not RVC's.*greenroom install model rvc hubert_base", voice="bea")
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "voice": "ana"}, places) as voice:
        assert [piece async for piece in voice.apply(cut(hum(RATE, 0.2)))]


async def test_a_speaker_that_the_voice_has_not(places: Places) -> None:
    await refused(places, BadRequest, "has 2 speakers, the first is 0", speaker_id=2)


async def test_a_device_that_is_not_here(places: Places) -> None:
    await refused(places, Unavailable, "there is no device cuda:7 here", device="cuda:7")


# the index


async def index_of(places: Places, **options: Any) -> Any:
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "index_rate": 0.5, **options}, places) as voice:
        return voice.engine.converter._index


async def test_the_index_is_found_by_the_voices_name(places: Places) -> None:
    assert (await index_of(places)).ntotal == 400
    assert await index_of(places, index_rate=0) is None
    assert await index_of(places, voice="mute") is None


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["added_IVF9_Flat_nprobe_1_anabel_v2.index", "added_IVF9_Flat_nprobe_1_ana_v2.index"], 1),
        (["trained_IVF9_Flat_nprobe_1_ana_v2.index", "x/added_IVF9_ana.index"], 1),
        (["ANA.index", "added_IVF9_Flat_nprobe_1_Ana_v2.index"], 1),
        (["ana/added_whatever.index", "added_banana_v2.index"], 0),
        (["indicies/added_my-ana-voice.index"], 0),
        (["added_anabel.index", "trained_ana.index", "added_bea.index"], None),
    ],
)
def test_the_most_specific_index_wins(tmp_path: Path, files: list[str], found: int | None) -> None:
    shelf = BindingShelf((BINDINGS,)).get("rvc")
    shelf.load()
    module = sys.modules[operation_type().__module__ + ".voice_files"]
    models = tmp_path / "models" / "rvc"
    for file in [*files, "ana.pth", "anabel.pth", "banana.pth"]:
        (models / file).parent.mkdir(parents=True, exist_ok=True)
        (models / file).touch()
    place = Places(models=tmp_path / "models", assets=tmp_path / "assets").place(shelf)
    index = module.find_index(place, module.choose_voice(place, "ana"), None)
    assert index == (None if found is None else models / files[found])


async def test_the_index_that_the_owner_names(places: Places, tmp_path: Path) -> None:
    index = next((places.assets / "rvc" / "indices").glob("*.index"))
    other = tmp_path / "models" / "rvc" / "mine"
    other.mkdir(parents=True)
    shutil.move(index, other / "added_other.index")
    for named in (str(other / "added_other.index"), str(other), "mine", "models/rvc/mine/added_other.index"):
        assert (await index_of(places, index_file=named)).ntotal == 400
    await refused(places, Unavailable, "the index nowhere is not there", index_rate=0.5, index_file="nowhere")
    await refused(
        places, Unavailable, "of another version than the voice", voice="bea", index_rate=0.5, index_file="mine"
    )
    (other / "added_other.index").write_bytes(b"no index")
    await refused(places, Unavailable, "the index in .* does not load", index_rate=0.5, index_file="mine")


# packages


async def test_a_missing_package_is_said_plainly(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "infer_rvc_python"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "infer_rvc_python", None)
    await refused(places, Unavailable, "greenroom install rvc")


async def test_crepe_needs_its_package(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcrepe", None)
    await refused(places, Unavailable, "f0_method crepe needs the packages torchcrepe", f0_method="crepe")


async def test_crepe_is_used_where_it_is(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in of its interface: torchcrepe's weights are in its package, which is not installed here."""
    import types

    import torch

    def predict(audio: Any, sample_rate: int, hop_length: int, *_: Any, **__: Any) -> Any:
        count = audio.shape[-1] // hop_length + 1
        return torch.full((1, count), 280.0), torch.ones(1, count)

    crepe = types.ModuleType("torchcrepe")
    same = types.SimpleNamespace(median=lambda values, _: values, mean=lambda values, _: values)
    crepe.__dict__.update(predict=predict, filter=same)
    monkeypatch.setitem(sys.modules, "torchcrepe", crepe)
    async with open_operation("rvc", Role.FILTER_AUDIO, {**PM, "f0_method": "crepe"}, places) as voice:
        made = await converted(voice, cut(hum(16_000, 1.5)))
    assert loudest_hertz(wave_of(made), RATE) == pytest.approx(280, rel=0.02)


async def test_importing_leaves_the_process_as_it_was(places: Places) -> None:
    path = list(sys.path)
    async with open_operation("rvc", Role.FILTER_AUDIO, PM, places):
        assert sys.path == path
        for name in ("ffmpeg", "pkg_resources", "torchcrepe"):
            assert getattr(sys.modules.get(name), "__file__", "real") is not None


# turns


async def test_in_a_process_of_its_own(places: Places) -> None:
    async with isolated({"rvc": "process"}, places=places) as rig:
        loaded = await rig.load(Role.FILTER_AUDIO, "rvc", **PM)
        made = await converted(loaded.operation, cut(hum(24_000, 1.5)))
        assert frames(made) == RATE * 1.5
        assert loudest_hertz(wave_of(made), RATE) == pytest.approx(220, rel=0.02)
        assert rig.child("rvc").pid
        await loaded.release()


async def test_a_turn_behind_espeak(places: Places, tmp_path: Path) -> None:
    """As users have it: the filter in a process of its own; as long as espeak alone, in another sound."""
    text = "The lamp is lit. The door is open."
    sounds = {}
    for name, filters in (("plain", ""), ("voice", "  - {role: filter_audio, id: rvc, voice: ana, f0_method: pm}\n")):
        home = tmp_path / name
        home.mkdir()
        shutil.copytree(places.assets, home / "assets")
        (home / "config.yaml").write_text(
            "turn: {audio_lead_ms: 0}\noperations:\n  - {role: t2t, id: eliza}\n  - {role: tts, id: espeak}\n"
            + filters,
            encoding="utf-8",
        )
        async with running_server(home, env={"OMP_NUM_THREADS": "1"}) as server, visitor(server.url) as ana:
            told = await ana.run("say", text=text)
            check_turn(told)
            chunk = next(one.data for one in told if one.name == "audio_chunk")
            sounds[name] = len(pcm_of(told)) / (2 * chunk["sr"]), chunk["sr"]
            assert ("rvc runs in process" in server.logged()) == bool(filters)
    assert sounds["voice"][1] == RATE
    assert sounds["voice"][0] == pytest.approx(sounds["plain"][0], rel=0.02)
