"""What goes wrong on a server's way: seeded faults, latency, and a list of what was asked."""

import contextlib
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler

KINDS = ("429", "500", "503", "reset", "cut")


class Faults:
    """Disturbs each request with a probability; the same seed disturbs the same ones of the same sequence of requests.

    Args:
        probability: of each request.
        seed: of the draws.
        latency: seconds before every answer.
        lasting: requests whose path holds one of these always fail with 503.
    """

    def __init__(
        self, probability: float = 0.0, seed: int = 0, latency: float = 0.0, lasting: tuple[str, ...] = ()
    ) -> None:
        self.asked: list[str] = []
        self.struck = 0
        self._probability, self._random, self._latency = probability, random.Random(seed), latency
        self._lasting = lasting
        self._lock = threading.Lock()

    def strike(self, handler: BaseHTTPRequestHandler) -> bool:
        """Whether the request has been answered with a fault; a cut one is cut by `body`."""
        time.sleep(self._latency)
        with self._lock:
            self.asked.append(f"{handler.command} {handler.path}")
            kind = self._random.choice(KINDS) if self._random.random() < self._probability else ""
            self.struck += bool(kind)
        if any(part in handler.path for part in self._lasting):
            kind = "503"
        handler.cut = kind == "cut" and handler.command != "HEAD"  # type: ignore[attr-defined]
        if kind == "reset" or (kind == "cut" and handler.command == "HEAD"):
            reset(handler)
        elif kind.isdigit():
            handler.send_response(int(kind))
            handler.send_header("Content-Length", "0")
            if kind == "429":
                handler.send_header("Retry-After", "0")
            handler.end_headers()
        return kind not in ("", "cut") or (kind == "cut" and handler.command == "HEAD")

    @staticmethod
    def body(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Sends the body after its headers, half of it where it is to be cut."""
        if getattr(handler, "cut", False) and body:
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            reset(handler)
        else:
            handler.wfile.write(body)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Ends the connection without a word."""
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.shutdown(socket.SHUT_RDWR)
