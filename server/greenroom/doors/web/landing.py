"""The page at the server's address, for whoever opens it in a browser."""

import html

from greenroom import __version__

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Greenroom</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #222; }}
pre {{ background: #f3f3f3; padding: 1rem; overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #181818; color: #ddd; }} pre {{ background: #262626; }} }}
</style>
</head>
<body>
<h1>Greenroom {version}</h1>
<p>A server for AI characters is running here. Apps talk to it over Socket.IO: they send text or speech, and the
character answers in text and voice, streamed while the answer is still being made.</p>
<p>From a terminal:</p>
<pre>greenroom say "Hello, who are you?" --url {address}{root}</pre>
<p>From JavaScript, with <code>socket.io-client</code>:</p>
<pre>const socket = io("{address}", {{ {path}auth: {{ session: "main" }} }});
socket.on("text_chunk", ({{ chunk }}) =&gt; console.log(chunk));
socket.emit("response", {{ user: "me", text: "Hello, who are you?" }});</pre>
<p>See also <a href="{root}/health">health</a> and <a href="{root}/metrics">metrics</a>.</p>
</body>
</html>
"""


def landing_page(address: str, root_path: str = "") -> str:
    """:param address: the server's own, as the browser reached it.
    :param root_path: where a reverse proxy has put it, without a slash at the end.
    """
    path = f'path: "{root_path}/socket.io/", ' if root_path else ""
    return _PAGE.format(
        version=html.escape(__version__),
        address=html.escape(address),
        root=html.escape(root_path),
        path=html.escape(path, quote=False),
    )
