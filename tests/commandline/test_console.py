import io

from greenroom.commandline.console import Console


def test_notes_begin_on_a_line_of_their_own() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out, err)
    console.write("Hel")
    console.write("lo")
    console.note("a note")
    console.end_line()
    console.write("more\n")
    console.end_line()
    console.line("end")
    assert out.getvalue() == "Hello\nmore\nend\n"
    assert err.getvalue() == "a note\n"


def test_control_characters_are_left_out_and_writing_systems_stay() -> None:
    out = io.StringIO()
    Console(out).write("a\x1b[31mb\x9b\x00\tc\n日本語 🎭 é")
    assert out.getvalue() == "a[31mb\tc\n日本語 🎭 é"


def test_tables_and_json_keep_every_character() -> None:
    out = io.StringIO()
    console = Console(out)
    console.table("things", ("name", "what"), [("[bold]x[/bold]", "日本")])
    console.json({"name": "日本"})
    assert "[bold]x[/bold]" in out.getvalue()
    assert out.getvalue().count("日本") == 2
