"""The two servers that get the same bytes: the oracle (redis-server) and ours."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import resp, servers  # noqa: E402


class Outcome:
    """What one read gave: a Reply, or a connection that closed, or silence. Compared by `raw` and `state`."""

    __slots__ = ("state", "reply", "raw")

    def __init__(self, state, reply=None, raw=b""):
        self.state = state  # "reply" | "closed" | "silent" | "garbage"
        self.reply = reply
        self.raw = reply.raw if reply is not None else raw

    def show(self, limit=600):
        if self.state == "reply":
            return show_bytes(self.raw, limit)
        text = {"closed": "(connection closed)", "silent": "(no reply)", "garbage": "(not RESP)"}[self.state]
        return text + (" after " + show_bytes(self.raw, limit) if self.raw else "")


def show_bytes(raw, limit=600):
    """Raw bytes as one readable line."""
    cut = raw if len(raw) <= limit else raw[: limit - 100] + b" ... " + raw[-80:]
    text = repr(cut)[2:-1]
    return text if cut is raw else f"{text} ({len(raw)} bytes)"


class Side:
    """One server and the named connections to it. Connections open on first use and after a close."""

    def __init__(self, server, timeout):
        self.server = server
        self.timeout = timeout
        self.connections = {}
        self.ids = {}  # connection name -> its CLIENT ID, asked when first needed

    def connection(self, name):
        if name not in self.connections:
            self.connections[name] = resp.Connection(self.server.port, self.timeout)
        return self.connections[name]

    def drop(self, name):
        self.ids.pop(name, None)
        connection = self.connections.pop(name, None)
        if connection:
            connection.close()

    def close(self):
        for name in list(self.connections):
            self.drop(name)

    def send(self, name, data):
        try:
            self.connection(name).send_raw(data)
        except (ConnectionError, socket.timeout):
            pass  # what the server said before it closed is still read

    def read(self, name):
        connection = self.connection(name)
        try:
            return Outcome("reply", connection.read_reply())
        except resp.Closed as closed:
            self.drop(name)
            return Outcome("closed", raw=closed.partial)
        except socket.timeout:
            left = bytes(connection.buffer[connection.at :])
            self.drop(name)
            return Outcome("silent", raw=left)
        except resp.ProtocolError:
            left = bytes(connection.buffer[connection.at :])
            self.drop(name)
            return Outcome("garbage", raw=left)

    def client_id(self, name):
        if name not in self.ids:
            self.ids[name] = self.connection(name).value("CLIENT", "ID")
        return self.ids[name]

    def control(self):
        """A connection of its own for setting up, logged in if the server wants a password."""
        connection = resp.Connection(self.server.port, self.timeout)
        if self.server.password:
            connection.value("AUTH", self.server.password)
        return connection


class Pair:
    """Both servers. `binary` None: a second redis-server stands in for ours, which tests the tests."""

    def __init__(self, binary, our_options=(), both_options=(), timeout=20.0, our_base=()):
        self.binary = binary or servers.REDIS_SERVER
        self.timeout = timeout
        oracle = servers.Server(servers.REDIS_SERVER, servers.ORACLE_OPTIONS + list(both_options), name="redis")
        base = list(our_base) or (servers.ORACLE_OPTIONS if servers.is_redis(self.binary) else [])
        ours = servers.Server(self.binary, base + list(our_options) + list(both_options), name="ours")
        try:
            self.oracle = Side(oracle.start(), timeout)
            self.ours = Side(ours.start(), timeout)
        except Exception:
            oracle.stop()
            ours.stop()
            raise

    def sides(self):
        return (self.oracle, self.ours)

    def close_connections(self):
        for side in self.sides():
            side.close()

    def alive(self):
        return all(side.server.alive() for side in self.sides())

    def stop(self):
        for side in self.sides():
            side.close()
            side.server.stop()
