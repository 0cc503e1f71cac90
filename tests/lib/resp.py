"""RESP2 and RESP3, client side, keeping the raw bytes of every reply.

The conformance runner compares bytes, so a client library that decodes replies is of no use to it. A reply is
read as a `Reply`: its bytes as they came, and a tree for the comparisons that are not byte for byte.
"""

import socket


class ProtocolError(Exception):
    """The server sent bytes that are not RESP."""


class Closed(Exception):
    """The server closed the connection. `partial` holds the bytes that came without completing a reply."""

    def __init__(self, partial=b""):
        super().__init__("connection closed by the server" + (f" after {partial!r}" if partial else ""))
        self.partial = partial


AGGREGATES = b"*%~>|"
LINES = b"+-:_,#("
BLOBS = b"$=!"


class Reply:
    """One reply. `raw`: its bytes. `kind`: its first byte, as in b"*"[0:1]. `value`: bytes for a scalar, None for
    a null, a list of Reply for an aggregate (maps are flat: key, value, key, value ...)."""

    __slots__ = ("raw", "kind", "value")

    def __init__(self, raw, kind, value):
        self.raw = raw
        self.kind = kind
        self.value = value

    def is_error(self):
        return self.kind in (b"-", b"!")

    def plain(self):
        """The reply as bytes, int, None or a list of these: what a test that looks at values wants."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if self.kind == b":":
            return int(self.value)
        return self.value


def encode_command(args):
    """A command as an array of bulk strings. `args`: bytes, str or int."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, bytes):
            arg = str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


class Connection:
    """A blocking connection. Not thread safe. Every read is bounded by `timeout` seconds (socket.timeout)."""

    def __init__(self, port, timeout=20.0, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.at = 0  # where in `buffer` the next unread byte is

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *args):
        self.socket.sendall(encode_command(args))

    def call(self, *args):
        """Sends one command and returns its Reply."""
        self.send(*args)
        return self.read_reply()

    def value(self, *args):
        """Sends one command and returns its reply as a plain value. Raises ProtocolError for an error reply."""
        reply = self.call(*args)
        if reply.is_error():
            raise ProtocolError(f"{args[0]}: {reply.value.decode(errors='replace')}")
        return reply.plain()

    def pipeline(self, commands):
        """Sends all `commands` at once, returns their replies. Only for pipelines whose bytes fit the socket
        buffers: nothing is read while sending."""
        self.socket.sendall(b"".join(encode_command(command) for command in commands))
        return [self.read_reply() for _ in commands]

    def _fill(self):
        if self.at > 1 << 16:
            del self.buffer[: self.at]
            self.at = 0
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(bytes(self.buffer[self.at :]))
        self.buffer += data

    def read_reply(self):
        """The next reply. Raises Closed, ProtocolError or socket.timeout."""
        # Positions are relative to `at`, which stays at the reply's first byte until the reply is complete.
        reply, size = self._parse(0)
        self.at += size
        if self.at == len(self.buffer):
            self.buffer.clear()
            self.at = 0
        return reply

    def _line_end(self, start):
        while True:
            end = self.buffer.find(b"\r\n", self.at + start)
            if end >= 0:
                return end - self.at
            self._fill()

    def _bytes(self, start, end):
        while len(self.buffer) < self.at + end:
            self._fill()
        return bytes(self.buffer[self.at + start : self.at + end])

    def _parse(self, start):
        end = self._line_end(start)
        line = self._bytes(start, end)
        kind, rest = line[:1], line[1:]
        end += 2
        if kind and kind in LINES:
            return Reply(self._bytes(start, end), kind, None if kind == b"_" else rest), end
        if not kind or kind not in BLOBS + AGGREGATES or not rest.lstrip(b"-").isdigit():
            raise ProtocolError(f"not a reply: {line!r}")
        count = int(rest)
        if count < 0:
            return Reply(self._bytes(start, end), kind, None), end
        if kind in BLOBS:
            body = self._bytes(end, end + count + 2)
            if body[-2:] != b"\r\n":
                raise ProtocolError(f"bulk without its line end: {line!r}")
            return Reply(self._bytes(start, end + count + 2), kind, body[:-2]), end + count + 2
        items = []
        for _ in range(count * 2 if kind in b"%|" else count):
            item, end = self._parse(end)
            items.append(item)
        if kind == b"|":  # attributes come before the reply that they describe
            reply, end = self._parse(end)
            return Reply(self._bytes(start, end), reply.kind, reply.value), end
        return Reply(self._bytes(start, end), kind, items), end

    def read_available(self, idle, limit=1 << 26):
        """Reads raw bytes until nothing came for `idle` seconds or the connection closed.
        Returns (bytes, closed)."""
        data = bytes(self.buffer[self.at :])
        self.buffer.clear()
        self.at = 0
        self.socket.settimeout(idle)
        try:
            while len(data) < limit:
                try:
                    more = self.socket.recv(1 << 16)
                except socket.timeout:
                    return data, False
                except ConnectionError:
                    return data, True
                if not more:
                    return data, True
                data += more
            return data, False
        finally:
            self.socket.settimeout(self.timeout)


def scan_keys(connection, *options):
    """All keys that a complete SCAN returns, as a set. `options`: what follows the cursor."""
    keys, cursor = set(), b"0"
    while True:
        cursor, batch = connection.value("SCAN", cursor, *options)
        keys.update(batch)
        if cursor == b"0":
            return keys
