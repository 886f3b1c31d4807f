"""A live view in the browser: frames as they are drawn, from a small server on this machine only."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from palmist.errors import InputError

__all__ = ["LivePage"]

_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Palmist live</title>
<style>body{margin:0;background:#15171c;color:#ddd;font:15px system-ui;text-align:center}
img{max-width:100vw;max-height:94vh}</style>
<img src="/stream" alt="hands, live"><div>Palmist, live. Close the command with Ctrl-C.</div></html>"""


class LivePage:
    """Serves the newest frame to every browser that looks, at `url`; slow browsers skip frames.

    >>> with LivePage() as page:
    ...     print(page.url)
    ...     page.show(image)            # (H, W, 3) uint8 RGB
    """

    def __init__(self, port: int = 0, quality: int = 80) -> None:
        """port: 0 for a free one. quality: of the JPEG images. InputError for a port that is taken."""
        self._quality = quality
        self._newest: tuple[int, bytes] = (0, b"")
        self._changed = threading.Condition()
        self._closed = False
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """The terminal belongs to the reading."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port, or 0") from error
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="palmist-live", daemon=True)
        self._thread.start()

    def show(self, image: np.ndarray) -> None:
        """Make (H, W, 3) uint8 RGB the newest frame."""
        import cv2

        good, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if good:
            with self._changed:
                self._newest = (self._newest[0] + 1, data.tobytes())
                self._changed.notify_all()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == "/":
            request.send_response(200)
            request.send_header("Content-Type", "text/html; charset=utf-8")
            request.send_header("Content-Length", str(len(_PAGE)))
            request.end_headers()
            request.wfile.write(_PAGE)
        elif request.path == "/stream":
            self._send_stream(request)
        else:
            request.send_error(404)

    def _send_stream(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        shown = 0
        try:
            while not self._closed:
                with self._changed:
                    if self._newest[0] == shown:
                        self._changed.wait(timeout=1.0)
                    number, data = self._newest
                if number != shown:
                    shown = number
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    request.wfile.write(head.encode() + data + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the browser was closed

    def close(self) -> None:
        """Stop serving."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LivePage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
