#!/usr/bin/python3
"""Replies that are longer than what a server should keep of them: whole collections of many thousand rows, to clients
that read them slowly, not at all, or go away in the middle.

    long_replies.py --server build/release/bin/thermocline-server [-v] [TestName ...]

suite.py says how the tests are run.
"""

import socket
import sys
import time

import suite
from lib import resp, servers
from suite import WithServer

ROWS = 60000
FILLER = b"x" * 60
OURS_BYTES_MAX = 60 << 20  # what thirty half-read replies of 5 MB may add to the server's memory


class LongReplies(WithServer):
    def setUp(self):
        super().setUp()
        self.control = self.server.connect(timeout=60)
        self.addCleanup(self.control.close)
        numbers = range(ROWS)
        self.fill(b"HSET", b"hash", ([b"field:%06d" % i, b"%d" % i + FILLER] for i in numbers))
        self.fill(b"SADD", b"set", ([b"member:%06d" % i] for i in numbers))
        self.fill(b"ZADD", b"sorted", ([b"%d" % i, b"member:%06d" % i] for i in numbers))
        self.fill(b"RPUSH", b"list", ([b"element:%06d" % i] for i in numbers))

    def fill(self, name, key, rows):
        batch = []
        for row in rows:
            batch += row
            if len(batch) >= 20000:
                self.control.value(name, key, *batch)
                batch = []
        if batch:
            self.control.value(name, key, *batch)

    def ours(self):
        return not servers.is_redis(self.binary)

    def clients(self):
        """Those that the test has opened beside its own."""
        return self.control.value("CLIENT", "LIST").count(b"id=") - 1

    def reader(self, *command, small_window=False):
        """A connection that has asked and not read yet."""
        connection = socket.socket()
        if small_window:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.connect(("127.0.0.1", self.server.port))
        self.addCleanup(connection.close)
        connection.sendall(resp.encode_command([word.encode() for word in command]))
        return connection

    def test_all_rows_in_order(self):
        hashed = self.control.value("HGETALL", "hash")
        self.assertEqual(dict(zip(hashed[::2], hashed[1::2])), {b"field:%06d" % i: b"%d" % i + FILLER for i in range(ROWS)})
        self.assertEqual(sorted(self.control.value("HKEYS", "hash")), [b"field:%06d" % i for i in range(ROWS)])
        self.assertEqual(len(self.control.value("HVALS", "hash")), ROWS)
        members = [b"member:%06d" % i for i in range(ROWS)]
        self.assertEqual(sorted(self.control.value("SMEMBERS", "set")), members)
        self.assertEqual(self.control.value("ZRANGE", "sorted", "0", "-1"), members)
        self.assertEqual(self.control.value("ZRANGE", "sorted", "7", "-9", "REV"), members[::-1][7:-8])
        self.assertEqual(self.control.value("ZRANGE", "sorted", "5", "(59000", "BYSCORE", "LIMIT", "3", "50000"),
                         members[8:50008])  # fmt: skip
        self.assertEqual(self.control.value("ZREVRANGEBYSCORE", "sorted", "+inf", "-inf"), members[::-1])
        scored = self.control.value("ZRANGE", "sorted", "0", "-1", "WITHSCORES")
        self.assertEqual(scored[:2] + scored[-2:], [members[0], b"0", members[-1], b"%d" % (ROWS - 1)])
        elements = [b"element:%06d" % i for i in range(ROWS)]
        self.assertEqual(self.control.value("LRANGE", "list", "0", "-1"), elements)
        self.control.value("LINSERT", "list", "BEFORE", "element:030000", "new")  # its rows get other keys from here on
        self.assertEqual(self.control.value("LRANGE", "list", "20000", "-2"),
                         (elements[:30000] + [b"new"] + elements[30000:])[20000:-1])  # fmt: skip

    def test_keys(self):
        names = [b"key:%06d" % i for i in range(ROWS)]
        self.fill_keys(names)
        self.assertEqual(sorted(self.control.value("KEYS", "key:*")), names)
        self.assertEqual(len(self.control.value("KEYS", "*")), ROWS + 4)
        self.assertEqual(sorted(self.control.value("KEYS", "*7?")), [name for name in names if name[-2:-1] == b"7"])
        self.assertEqual(self.control.value("KEYS", "key:0300?0x"), [])
        replies = self.control.pipeline([["MULTI"], ["DEL", "key:000000"], ["SET", "key:7", "v"], ["KEYS", "key:*"],
                                         ["EXEC"]])[-1].plain()  # fmt: skip
        self.assertEqual(sorted(replies[2]), names[1:] + [b"key:7"])
        reader = self.reader("KEYS", "key:*", small_window=True)
        time.sleep(0.3)
        self.control.value("FLUSHALL")
        data = b""
        while data.count(b"\r\n") < 1 + 2 * ROWS:
            data += reader.recv(1 << 20)
        self.assertTrue(data.startswith(b"*%d\r\n" % ROWS))

    def fill_keys(self, names):
        for first in range(0, len(names), 1000):
            self.control.value("MSET", *[word for name in names[first : first + 1000] for word in (name, b"value")])

    def test_what_is_sent_behind_it_waits(self):
        connection = self.reader("HGETALL", "hash")
        connection.sendall(resp.encode_command([b"SET", b"behind", b"it"]) + resp.encode_command([b"PING"]))
        end = b"+OK\r\n+PONG\r\n"
        data = b""
        while not data.endswith(end):
            data += connection.recv(1 << 20)
        self.assertTrue(data.startswith(b"*%d\r\n" % (2 * ROWS)))
        self.assertEqual(data.count(b"\r\n"), 1 + 4 * ROWS + 2)

    def test_message_comes_behind_the_reply(self):
        """In RESP3 one connection has both; a message must not cut a reply in two."""
        connection = self.server.connect(timeout=60)
        connection.value("HELLO", "3")
        connection.send(b"SUBSCRIBE", b"news")
        connection.read_reply()
        connection.send(b"SMEMBERS", b"set")
        time.sleep(0.05)
        self.assertEqual(self.control.value("PUBLISH", "news", "x"), 1)
        kinds = [connection.read_reply().kind for _ in range(2)]
        self.assertEqual(sorted(kinds), [b">", b"~"])
        connection.close()

    def test_snapshot(self):
        """What others do while the reply is under way is not in it."""
        connection = self.reader("LRANGE", "list", "0", "-1", small_window=True)
        time.sleep(0.3)  # the first part is on its way
        self.control.value("LTRIM", "list", "0", "9")
        self.control.value("DEL", "hash")
        data = b""
        while not data.endswith(b"element:%06d\r\n" % (ROWS - 1)):
            data += connection.recv(1 << 20)
        self.assertEqual(data.count(b"element:"), ROWS)

    def test_readers_that_stop_cost_little(self):
        if not self.ours():
            self.skipTest("Redis has the whole reply in memory")
        before = self.server.rss_bytes()
        readers = [self.reader("HGETALL", "hash", small_window=True) for _ in range(30)]
        time.sleep(1.5)
        self.assertEqual(self.control.value("PING"), b"PONG")
        self.assertEqual(len(self.control.value("SMEMBERS", "set")), ROWS)
        self.assertLess(self.server.rss_bytes() - before, OURS_BYTES_MAX)
        self.assertEqual(self.clients(), len(readers))

    def test_readers_that_go_away(self):
        for _ in range(50):
            connection = self.reader("HGETALL", "hash", small_window=True)
            connection.recv(10000)
            connection.close()
        limit = time.monotonic() + 10
        while self.clients() > 0:
            self.assertLess(time.monotonic(), limit, "connections are left over")
            time.sleep(0.05)
        self.assertEqual(self.control.value("HLEN", "hash"), ROWS)

    def test_reader_that_stops_is_closed(self):
        """It holds a snapshot of the whole database."""
        if not self.ours():
            self.skipTest("Redis holds the reply, as long as the output limits allow")
        self.reader("HGETALL", "hash", small_window=True).recv(1)
        self.assertEqual(self.clients(), 1)
        self.control.value("CONFIG", "SET", "timeout", "1")
        try:
            limit = time.monotonic() + 15
            while self.clients() > 0:
                self.assertLess(time.monotonic(), limit, "it is still there")
                time.sleep(0.1)
        finally:
            self.control.value("CONFIG", "SET", "timeout", "0")


if __name__ == "__main__":
    sys.exit(suite.main(__doc__, [LongReplies]))
