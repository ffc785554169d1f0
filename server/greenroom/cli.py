"""The command line: ``greenroom --help``. What a command needs is imported when it runs, so that help comes at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from greenroom import __version__
from greenroom.commandline.console import Console, prepare_streams
from greenroom.errors import GreenroomError, Unauthorized, Unavailable

DEFAULT_URL = "http://127.0.0.1:9601"
FAILED, UNREACHABLE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="greenroom",
    help="A server for AI characters that talk: text and voice, streamed over Socket.IO.",
    epilog="Begin with: greenroom serve, and in a second terminal: greenroom chat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[str, typer.Option(help="Address of the server.", envvar="GREENROOM_URL", show_default=True)]
Token = Annotated[
    str | None, typer.Option(help="What the server wants of its clients.", envvar="GREENROOM_TOKEN", show_default=False)
]
Session = Annotated[str, typer.Option(help="Session to talk in.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Take any certificate of an https server.")]
Personality = Annotated[
    str | None, typer.Option("--personality", "-p", help="Character, as language/category/name.", show_default=False)
]
Home = Annotated[
    Path | None,
    typer.Option(help="Folder with your config.yaml, bindings, personalities and data.", show_default=False),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file, or a name in configs/; default: config.yaml in the home folder."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        Console().line(f"greenroom {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command()
def serve(
    home: Home = None,
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes any free one.", show_default="9601")] = None,
    token: Annotated[str | None, typer.Option(help="Owner's token that clients must give.", show_default=False)] = None,
    log_level: Annotated[
        str | None, typer.Option(help="DEBUG, INFO, WARNING, ERROR or CRITICAL.", show_default="INFO")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine without tokens: whoever comes is owner.")
    ] = False,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve https, with a certificate made for it and kept in tls/ of the home.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Serve https with this PEM certificate.", dir_okay=False, show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Its key, where it is in a file of its own.", dir_okay=False, show_default=False)
    ] = None,
    wyoming: Annotated[
        str | None,
        typer.Option(help="Also speak Wyoming there, for Home Assistant: tcp://127.0.0.1:10200.", show_default=False),
    ] = None,
) -> None:
    """Start the server."""
    from greenroom import garbage

    with garbage.postponed():
        from greenroom.app import ServeOptions, run

        options = ServeOptions(home, config, host, port, token, log_level, insecure, tls, tls_cert, tls_key, wyoming)
        _end(lambda: run(options))


@app.command()
def say(
    text: Annotated[str | None, typer.Argument(help="What to say; - reads it from standard input.")] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Ask by voice: a WAV file.", exists=True, dir_okay=False, show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the voice into this WAV file instead of playing it.", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    session: Session = "main",
    personality: Personality = None,
    no_voice: Annotated[bool, typer.Option("--no-voice", help="Text only.")] = False,
    insecure: Insecure = False,
) -> None:
    """Say something to the character, and hear and read the answer. Ctrl-C interrupts it."""
    from greenroom.commandline.say import SayOptions
    from greenroom.commandline.say import say as run

    options = SayOptions(url, text, audio, out, token, session, personality, voice=not no_voice, insecure=insecure)
    _end(lambda: run(options, Console()))


@app.command()
def chat(
    url: Url = DEFAULT_URL,
    token: Token = None,
    session: Session = "main",
    personality: Personality = None,
    no_voice: Annotated[bool, typer.Option("--no-voice", help="Text only.")] = False,
    insecure: Insecure = False,
) -> None:
    """Talk with the character at the terminal. /help lists what else can be done there."""
    from greenroom.commandline.chat import ChatOptions
    from greenroom.commandline.chat import chat as run

    options = ChatOptions(url, token, session, personality, voice=not no_voice, insecure=insecure)
    _end(lambda: run(options, Console()))


@app.command()
def doctor(home: Home = None, config: ConfigFile = None, token: Token = None) -> None:
    """Say what works on this machine, and what to do about what does not."""
    from greenroom.commandline.doctor import diagnose

    _end(lambda: diagnose(Console(), home=home, config=config, token=token))


_MODELS = ("model", "models")
"""in front of a binding's name: its models are meant"""
Installed = Annotated[
    list[str],
    typer.Argument(
        metavar="BINDING... | model BINDING NAME...",
        help="Bindings, by the names of their folders; or the word model, a binding, and models of it.",
        show_default=False,
    ),
]


@app.command()
def install(
    what: Installed,
    check: Annotated[
        bool, typer.Option("--check", help="Install nothing; say whether what is installed is sound.")
    ] = False,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Install the newest versions that fit.")] = False,
    home: Home = None,
) -> None:
    """Install what bindings need, each into an environment of its own; or the weights of models. Ctrl-C stops it; it
    can be taken up again.

    greenroom install melo

    greenroom install model piper en_US-lessac-medium
    """
    if what[0] in _MODELS:
        from greenroom.commandline import models

        chosen = models.ModelOptions(what[1:], home, check, upgrade)
        _end(lambda: models.install(chosen, Console()))
    from greenroom.commandline.install import InstallOptions
    from greenroom.commandline.install import install as run

    _end(lambda: run(InstallOptions(what, home, check, upgrade), Console()))


@app.command()
def uninstall(what: Installed, home: Home = None) -> None:
    """Remove the environments that were installed for bindings, or the weights of models. The bindings themselves
    stay."""
    if what[0] in _MODELS:
        from greenroom.commandline import models

        _end(lambda: models.uninstall(models.ModelOptions(what[1:], home), Console()))
    from greenroom.commandline.install import uninstall as run

    _end(lambda: run(what, home, Console()))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="bindings, personalities, models or voices")],
    of: Annotated[
        str | None,
        typer.Argument(metavar="[BINDING]", help="Only the models or voices of this binding.", show_default=False),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Ask this server; without it, what is on this machine.", show_default=False)
    ] = None,
    token: Token = None,
    session: Session = "main",
    home: Home = None,
    binding: Annotated[str | None, typer.Option(help="The same as BINDING.", show_default=False, hidden=True)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List what there is to choose from."""
    from greenroom.commandline.listing import ListOptions, What, show

    if what not in list(What):
        raise typer.BadParameter(f"wanted one of {', '.join(What)}", param_hint="what")
    options = ListOptions(What(what), url, token, session, home, of or binding, as_json)
    _end(lambda: show(options, Console()))


bind = typer.Typer(name="bind", help="Run a binding by itself, for servers elsewhere.", no_args_is_help=True)
app.add_typer(bind)


@bind.callback()
def _bind() -> None: ...


@bind.command("serve")
def bind_serve(
    binding: Annotated[str, typer.Argument(help="The binding, by the name of its folder.", show_default=False)],
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine it needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes any free one.", min=0, max=65_535)] = 9610,
    token: Annotated[
        str | None,
        typer.Option(help="What servers must give; better in the environment.", envvar="GREENROOM_BIND_TOKEN"),
    ] = None,
    home: Home = None,
    config: ConfigFile = None,
) -> None:
    """Run one binding here. A server uses it with: isolation: {BINDING: http://host:port}"""
    from greenroom.commandline.bind import BindOptions, serve

    _end(lambda: serve(BindOptions(binding, host, port, token, home, config), Console()))


def _end(command: Callable[[], int]) -> NoReturn:
    """Run a command and leave with its code; what goes wrong is a sentence."""
    try:
        code = command()
    except GreenroomError as error:
        mend = "; start it with: greenroom serve" if error.kind == "unreachable" else ""
        if isinstance(error, Unauthorized):
            mend = "; give one with --token, or in the environment variable GREENROOM_TOKEN"
        Console().note(f"greenroom: {error.message}{mend}")
        code = UNREACHABLE if isinstance(error, Unavailable) and error.kind in _NO_SERVER else FAILED
    except BrokenPipeError:
        code = FAILED
    except OSError as error:
        Console().note(f"greenroom: {error.filename or 'the system'}: {error.strerror or error}")
        code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    raise typer.Exit(code)


_NO_SERVER = ("unreachable", "foreign_server")


def main(arguments: Sequence[str] | None = None) -> int:
    """-> exit code. ``arguments``: by default those of the process."""
    prepare_streams()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="greenroom")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    return 0
