"""Serve the built book on this machine with the Content-Security-Policy it is made for (``make serve``).

The tests use the same server, below a subfolder as on a project's public pages.
"""

from __future__ import annotations

import argparse
import functools
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lib.site.layout import ROOT

__all__ = ["POLICY", "start"]

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
    ]
)
"""No eval, no WebAssembly, nothing from outside the site."""


class Handler(SimpleHTTPRequestHandler):
    """Files of the site below a prefix, with the policy on every answer."""

    def __init__(self, *arguments, prefix: str = "/", quiet: bool = True, **named):
        self.prefix = prefix
        self.quiet = quiet
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        """Answer, or send the bare address on to the prefix."""
        if self.path == "/" and self.prefix != "/":
            self.send_response(302)
            self.send_header("Location", self.prefix)
            self.end_headers()
            return
        if not self.path.startswith(self.prefix):
            self.send_error(404)
            return
        self.path = "/" + self.path[len(self.prefix) :]
        super().do_GET()

    def end_headers(self) -> None:
        """Add the policy."""
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *arguments) -> None:
        """Say nothing about single requests unless asked to."""
        if not self.quiet:
            super().log_message(*arguments)


def start(folder: Path, port: int = 0, prefix: str = "/", quiet: bool = True) -> tuple[ThreadingHTTPServer, str]:
    """Serve a folder from a thread of this process.

    Parameters
    ----------
    folder : Path
        The built site.
    port : int
        Port on localhost; 0 takes a free one.
    prefix : str
        Path below which the site stands, with a slash at both ends.
    quiet : bool
        Whether single requests are not logged.

    Returns
    -------
    server : ThreadingHTTPServer
        Call ``shutdown()`` to end it.
    address : str
        Address of the first page.
    """
    handler = functools.partial(Handler, directory=str(folder), prefix=prefix, quiet=quiet)
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}{prefix}"


def main() -> None:
    """Serve ``_build/html`` until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the built book on localhost.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--folder", type=Path, default=ROOT / "_build/html")
    options = parser.parse_args()
    if not (options.folder / "index.html").is_file():
        sys.exit(f"{options.folder} holds no site; run `make book` first")
    try:
        server, address = start(options.folder, options.port)
    except OSError as error:
        sys.exit(f"Port {options.port} cannot be used ({error.strerror}); try: make serve PORT=8001")
    print(f"Living Models is at {address} (Ctrl+C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.shutdown()
        print()


if __name__ == "__main__":
    main()
