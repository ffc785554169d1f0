"""Finding, listing and looking up personalities; nothing outside their folders, no file read twice."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from greenroom.errors import BadRequest, GreenroomError, NotFound
from greenroom.personalities.shelf import PersonalityShelf

Maker = Callable[..., Path]


def shelf_of(tmp_path: Path, *roots: str) -> PersonalityShelf:
    return PersonalityShelf(tuple(tmp_path / root for root in roots or ("zoo",)))


def test_the_listing_has_lollms_shape(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear", "name: Bear\npersonality_description: Hum\nauthor: Ana\nversion: 1.5\n", logo="png")
    make("english/job/cook", script=True)
    make("german/spiel/hase")
    listing = shelf_of(tmp_path).listing()
    assert {language: {c: len(infos) for c, infos in found.items()} for language, found in listing.items()} == {
        "english": {"fun": 1, "job": 1},
        "german": {"spiel": 1},
    }
    assert listing["english"]["fun"][0] == {
        "folder": "bear",
        "name": "Bear",
        "description": "Hum",
        "author": "Ana",
        "version": "1.5",
        "has_scripts": False,
        "has_logo": True,
        "avatar": "personalities/english/fun/bear/assets/logo.png",
        "id": "english/fun/bear",
        "language": "english",
        "category": "fun",
    }
    assert listing["english"]["job"][0]["has_scripts"] is True
    assert listing["english"]["job"][0]["avatar"] == ""


def test_languages_categories_and_names(make: Maker, tmp_path: Path) -> None:
    for place in ("english/fun/bear", "english/fun/ant", "english/job/cook", "german/spiel/hase"):
        make(place)
    shelf = shelf_of(tmp_path)
    assert shelf.languages() == ["english", "german"]
    assert shelf.categories("english") == ["fun", "job"]
    assert shelf.names("english", "fun") == ["ant", "bear"]
    with pytest.raises(NotFound, match="languages: english, german"):
        shelf.categories("klingon")
    with pytest.raises(NotFound, match="languages: english, german"):
        shelf.names("klingon", "fun")
    with pytest.raises(NotFound, match="categories: fun, job"):
        shelf.names("english", "..")


@pytest.mark.parametrize("name", ["teach me c#", "q&a game", "vue.js", "monkey_d._luffy", "l'ours", "été ☀", "100%"])
def test_odd_folder_names_work_everywhere(make: Maker, tmp_path: Path, name: str) -> None:
    make(f"english/fun/{name}", logo="png")
    shelf = shelf_of(tmp_path)
    (info,) = shelf.listing()["english"]["fun"]
    assert info["folder"] == name
    path = str(info["avatar"])
    assert path.isascii() and " " not in path and "#" not in path and "&" not in path
    _, language, category, folder, _, file = (unquote(part) for part in path.split("/"))
    assert shelf.asset(language, category, folder, file).read_bytes() == b"picture"
    assert shelf.get(f"english/fun/{name}").folder_name == name


def test_the_two_level_layout_gets_a_language_level(make: Maker, tmp_path: Path) -> None:
    make("fun/bear", "name: Bear\nlanguage: Hello there\n")
    make("fun/ours", "name: Ours\nlanguage: Français\n")
    make("fun/more/mouse", "name: Mouse\n")
    make("fun/broken", "a: [\n")
    shelf = shelf_of(tmp_path)
    assert {found.id for found in shelf.all()} == {"english/fun/bear", "french/fun/ours", "english/fun/mouse"}
    assert list(shelf.broken()) == ["english/fun/broken"]
    assert shelf.get("fun/ours").language == "french"
    reads = shelf.files_read
    assert len(shelf.all()) == 3
    assert shelf.files_read == reads == 4


def test_an_extra_level_and_a_missing_level_are_tolerated(make: Maker, tmp_path: Path) -> None:
    make("english/fun/more/bear")
    make("english/loner")
    make("english/fun/plain")
    assert {found.id for found in shelf_of(tmp_path).all()} == {
        "english/fun/bear",
        "english/general/loner",
        "english/fun/plain",
    }


def test_two_folders_of_one_id_in_a_root_are_told_apart(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear", "name: First\n")
    make("english/fun/zoo/bear", "name: Second\n")
    shelf = shelf_of(tmp_path)
    assert shelf.get("bear").name == "First"
    assert "same name" in shelf.broken()["english/fun/zoo/bear"]


def test_a_later_root_wins(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear", "name: Shipped\n")
    make("english/fun/ant", "name: Ant\n")
    make("english/fun/bear", "name: Mine\n", root="mine")
    shelf = shelf_of(tmp_path, "zoo", "mine", "nowhere")
    assert shelf.get("english/fun/bear").name == "Mine"
    assert len(shelf.all()) == 2
    reads = shelf.files_read
    shelf.listing()
    assert shelf.files_read == reads
    (tmp_path / "mine/english/fun/bear/config.yaml").unlink()
    assert shelf.get("english/fun/bear").name == "Shipped"


def test_what_is_no_personality_is_passed_over(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear")
    make(".git/fun/bear")
    make("english/.hidden/bear")
    make("english/fun/.bear")
    make("english/fun/__pycache__")
    (tmp_path / "zoo" / "README.md").write_text("x", encoding="utf-8")
    (tmp_path / "zoo" / "english" / "fun" / "empty").mkdir()
    (tmp_path / "zoo" / "english" / "fun" / "weird" / "config.yaml").mkdir(parents=True)
    shelf = shelf_of(tmp_path)
    assert [found.id for found in shelf.all()] == ["english/fun/bear"]
    assert shelf.broken() == {}
    assert not (tmp_path / "zoo/english/fun/bear/scripts").exists()


def test_a_broken_one_harms_nobody(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear")
    bad = make("english/fun/bad", "name: [x\n")
    shelf = shelf_of(tmp_path)
    assert [found.id for found in shelf.all()] == ["english/fun/bear"]
    assert shelf.names("english", "fun") == ["bear"]
    error = shelf.broken()["english/fun/bad"]
    assert "config.yaml, line" in error
    with pytest.raises(BadRequest, match="cannot be read"):
        shelf.get("english/fun/bad")
    (bad / "config.yaml").write_text("name: Mended now\n", encoding="utf-8")
    assert shelf.get("english/fun/bad").name == "Mended now"
    assert shelf.broken() == {}


def test_nothing_is_read_again_that_did_not_change(make: Maker, tmp_path: Path) -> None:
    folders = [make(f"english/group{n % 7}/someone {n}") for n in range(100)]
    shelf = shelf_of(tmp_path)
    assert sum(len(infos) for infos in shelf.listing()["english"].values()) == 100
    assert shelf.files_read == 100
    for _ in range(3):
        shelf.listing()
        shelf.get("english/group0/someone 0")
        shelf.get("someone 8")
        shelf.names("english", "group1")
    assert shelf.files_read == 100
    (folders[3] / "config.yaml").write_text("name: Somebody else\n", encoding="utf-8")
    (folders[4] / "assets" / "logo.gif").write_bytes(b"")
    os.utime(folders[4] / "assets", ns=(1, 1))
    listing = shelf.listing()["english"]
    assert shelf.files_read == 102
    assert [info["name"] for info in listing["group3"] if info["folder"] == "someone 3"] == ["Somebody else"]
    assert [info["has_logo"] for info in listing["group4"] if info["folder"] == "someone 4"] == [True]
    make("english/group0/new")
    assert shelf.get("new").name == "New"
    assert shelf.files_read == 103


def test_the_caller_may_change_what_it_got(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear")
    shelf = shelf_of(tmp_path)
    shelf.listing()["english"]["fun"][0].clear()
    shelf.listing()["english"].clear()
    assert shelf.names("english", "fun") == ["bear"]


def test_it_is_found_by_every_way_of_naming_it(make: Maker, tmp_path: Path) -> None:
    folder = make("english/fun/bear", "name: Old Bear\n")
    make("german/fun/bear", "name: Bär\n")
    make("german/fun/hase", "name: Hase\n")
    shelf = shelf_of(tmp_path)
    for name in ("english/fun/bear", "English/Fun/Bear", "fun/bear", "bear", "old bear", str(folder)):
        assert shelf.get(name).id == "english/fun/bear", name
    assert shelf.get(str(folder / "config.yaml")).id == "english/fun/bear"
    assert shelf.get("hase").id == shelf.get("fun/hase").id == "german/fun/hase"
    assert shelf.get("Bär").id == "german/fun/bear"


def test_an_ambiguous_name_is_refused_with_the_choices(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear")
    make("english/job/bear")
    with pytest.raises(BadRequest, match=r"english/fun/bear, english/job/bear"):
        shelf_of(tmp_path).get("bear")


def test_a_translation_is_another_whole_configuration(make: Maker, tmp_path: Path) -> None:
    folder = make("fun/bear", "name: Bear\n")
    (folder / "languages").mkdir()
    (folder / "languages" / "french.yaml").write_text("name: Ours\n", encoding="utf-8")
    shelf = shelf_of(tmp_path)
    ours = shelf.get("fun/bear:french")
    assert (ours.name, ours.language, ours.id) == ("Ours", "french", "english/fun/bear:french")
    assert shelf.get(ours.id).name == "Ours"
    for wrong in ("fun/bear:german", "fun/bear:../../config", "fun/bear:", "nobody:french"):
        with pytest.raises((NotFound, BadRequest)):
            shelf.get(wrong)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "..",
        "../zoo/english/fun/bear",
        "english/../english/fun/bear",
        "english/fun/../fun/bear",
        "english//fun/bear",
        "english/fun/bear/",
        "./english/fun/bear",
        "english\\fun\\bear",
        "english/fun/bear/extra",
        "english/fun/bear\0",
        "nobody",
        "english/fun/nobody",
        "x" * 10_000,
        "\ud800",
        "/",
        "/etc/passwd",
        "/nonexistent/english/fun/bear",
        "C:\\zoo\\english\\fun\\bear",
        "\\\\host\\share\\bear",
        "//host/share/bear",
    ],
)
def test_nothing_else_is_found(make: Maker, tmp_path: Path, name: str) -> None:
    make("english/fun/bear")
    with pytest.raises((NotFound, BadRequest)):
        shelf_of(tmp_path).get(name)


def test_paths_lie_inside_a_root_after_links_are_followed(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear")
    outside = make("english/fun/spy", root="elsewhere")
    zoo = tmp_path / "zoo"
    shelf = shelf_of(tmp_path)
    for name in (str(outside), str(zoo), str(zoo / "english"), f"{zoo}/english/../../elsewhere/english/fun/spy"):
        with pytest.raises((NotFound, BadRequest)):
            shelf.get(name)
    try:
        (zoo / "english/fun/linked").symlink_to(outside, target_is_directory=True)
        (zoo / "english/fun/again").symlink_to(zoo / "english/fun/bear", target_is_directory=True)
        (zoo / "english/fun/loop").symlink_to(zoo, target_is_directory=True)
    except OSError:  # Windows without the right to make links: nothing to follow
        return
    file = make("english/fun/secret")
    (file / "config.yaml").unlink()
    (file / "config.yaml").symlink_to(outside / "config.yaml")
    assert {found.id for found in shelf.all()} == {"english/fun/bear", "english/fun/again"}
    assert "leads out" in shelf.broken()["english/fun/linked"]
    assert "leads out" in shelf.broken()["english/fun/secret"]
    with pytest.raises((NotFound, BadRequest)):
        shelf.get("english/fun/linked")


@pytest.mark.parametrize(
    "relative",
    ["", ".", "..", "../config.yaml", "sub/../../config.yaml", "/etc/passwd", "logo.png/", "sub", "nothing.png", "a\0b",
     "..\\config.yaml", "C:logo.png", "x" * 5000, "\ud800.png", "out.png", "sub//deep.png"],
)  # fmt: skip
def test_assets_are_confined(make: Maker, tmp_path: Path, relative: str) -> None:
    folder = make("english/fun/bear", logo="png")
    (folder / "assets" / "sub").mkdir()
    (folder / "assets" / "sub" / "deep.png").write_bytes(b"deep")
    try:
        (folder / "assets" / "out.png").symlink_to(folder / "config.yaml")
    except OSError:  # Windows without the right to make links: the name is missing, which is refused as well
        pass
    shelf = shelf_of(tmp_path)
    assert shelf.asset("english", "fun", "bear", "logo.png").read_bytes() == b"picture"
    assert shelf.asset("english", "fun", "bear", "sub/deep.png").read_bytes() == b"deep"
    with pytest.raises(NotFound):
        shelf.asset("english", "fun", "bear", relative)


def test_assets_of_nobody(make: Maker, tmp_path: Path) -> None:
    make("english/fun/bear", logo="png")
    shelf = shelf_of(tmp_path)
    for place in (("english", "fun", "nobody"), ("..", "zoo/english/fun", "bear"), ("english", "fun/bear", "")):
        with pytest.raises(NotFound):
            shelf.asset(*place, "logo.png")


def test_several_threads_may_ask_at_once(make: Maker, tmp_path: Path) -> None:
    for number in range(20):
        make(f"english/fun/someone {number}")
    shelf = shelf_of(tmp_path)
    failures: list[GreenroomError] = []

    def ask() -> None:
        try:
            assert len(shelf.listing()["english"]["fun"]) == 20
            shelf.get("english/fun/someone 3")
        except GreenroomError as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert shelf.files_read == 20
