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
<pre>greenroom say "Hello, who are you?"</pre>
<p>From JavaScript, with <code>socket.io-client</code>:</p>
<pre>const socket = io("{address}", {{ auth: {{ session: "main" }} }});
socket.on("text_chunk", ({{ chunk }}) =&gt; console.log(chunk));
socket.emit("response", {{ user: "me", text: "Hello, who are you?" }});</pre>
<p>See also <a href="/health">health</a> and <a href="/metrics">metrics</a>.</p>
</body>
</html>
"""


def landing_page(address: str) -> str:
    """:param address: the server's own, as the browser reached it."""
    return _PAGE.format(version=html.escape(__version__), address=html.escape(address))
