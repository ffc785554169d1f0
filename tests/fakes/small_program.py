"""A program for a binding to manage, run as a script: a server in its own process, that fails in whatever way is asked.

    small_program.py PORT [exit CODE | deaf | wait FILE]

``exit``: say something and leave. ``deaf``: run, but never listen. ``wait``: listen once FILE exists.
``GET /`` its process number and environment variable FLAVOUR, ``/crash`` exit code 7 after some last words,
``/spawn`` the number of a process that it has started, ``/mute`` nothing is answered from now on.
"""

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLEEPER = [sys.executable, "-c", "import threading; threading.Event().wait()"]
muted = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if muted.is_set():
            threading.Event().wait()
        answer = f"{os.getpid()} {os.environ.get('FLAVOUR', '')}"
        if self.path == "/crash":
            print("bang, I am gone", flush=True)
            os._exit(7)
        if self.path == "/spawn":
            answer = str(subprocess.Popen(SLEEPER).pid)
        if self.path == "/mute":
            muted.set()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        print(format % arguments, flush=True)


def main(port: int, how: str = "", value: str = "") -> None:
    print("starting on", port, flush=True)
    if how == "exit":
        print("no such model: tiny.gguf", flush=True)
        sys.exit(int(value))
    if how == "deaf":
        threading.Event().wait()
    while how == "wait" and not Path(value).exists():
        time.sleep(0.01)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
