#!/usr/bin/python3
"""The load generator against a real server: good values are believed, and every way of being wrong is seen.

    run_test.py --server build/release/bin/thermocline-server --loadgen build/release/bin/thermocline-loadgen
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from lib import servers  # noqa: E402

KEYS = 2000


class Test:
    def __init__(self, args, server, directory):
        self.args = args
        self.server = server
        self.ledger = os.path.join(directory, "ledger")
        self.connection = server.connect()

    def loadgen(self, *words, code=0):
        """Runs the generator, which must end with `code`. Returns its lines."""
        command = [self.args.loadgen, *words]
        if words[0] != "probe":
            command += ["--port", str(self.server.port), "--ledger", self.ledger]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != code:
            raise SystemExit(f"{command} ended with {done.returncode} instead of {code}: {done.stdout}{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def run(self, *groups, seconds="0.3", code=0, threads="1"):
        words = [word for group in groups for word in ("--group", group)]
        return self.loadgen("run", *words, "--seconds", seconds, "--threads", threads, code=code)

    def expect(self, what, truth):
        if not truth:
            raise SystemExit(f"not so: {what}")

    def read_all(self, kind, code):
        return self.run(f"type={kind},pattern=once,connections=3,pipeline=5", seconds="0", code=code)[0]

    def good_runs(self):
        lines = self.loadgen("load", "--strings", str(KEYS), "--hashes", str(KEYS), "--lists", str(KEYS))
        self.expect("all is written", [line["writes"]["count"] for line in lines] == [KEYS] * 3)
        self.expect("all is there", self.connection.value("DBSIZE") == 3 * KEYS)
        for kind in ("string", "hash", "list"):
            groups = [f"name={pattern},type={kind},pattern={pattern},reads=50,connections=4,pipeline=3"
                      for pattern in ("uniform", "zipfian", "hotset", "scan")]  # fmt: skip
            for line in self.run(*groups, threads="2"):
                self.expect(f"{line['group']} reads and writes {kind}",
                            line["reads"]["count"] > 0 and line["writes"]["count"] > 0)  # fmt: skip
            self.expect("all is read once", self.read_all(kind, 0)["reads"]["count"] == KEYS)
        line = self.run("connections=4,rate=1000", seconds="1")[0]
        self.expect("the rate is kept", 950 <= line["reads"]["count"] <= 1050)

    def rate_beyond_the_server(self):
        """What waits for its turn is as late as it is, not as late as its reply."""
        line = self.run("connections=1,rate=10000000")[0]
        self.expect("requests are left over", line["unsent"] > 0)
        self.expect("lateness counts", line["reads"]["p50_us"] > 20000)

    def wrong_values(self):
        value = self.connection.value
        old = value("GET", "s:%012d" % 7)
        steps = [
            ("string", ["SETRANGE", "s:%012d" % 3, "500", "?"], "one byte"),
            ("string", ["DEL", "s:%012d" % 4], "a lost key"),
            ("hash", ["HSET", "h:%012d" % 3, "f4", "?"], "one field"),
            ("hash", ["HDEL", "h:%012d" % 4, "f4"], "a lost field"),
            ("list", ["LSET", "l:%012d" % 3, "4", "?"], "one element"),
            ("list", ["LPOP", "l:%012d" % 4], "a lost element"),
        ]  # fmt: skip
        seen = {"string": 0, "hash": 0, "list": 0}
        for kind, command, what in steps:
            value(*command)
            seen[kind] += 1
            self.expect(f"{what} is seen", self.read_all(kind, 1)["wrong_values"] == seen[kind])
        # A whole value, but one that has been overwritten: a lost write.
        self.run("pattern=once,reads=0", seconds="0")
        self.expect("writing mends", self.read_all("string", 0)["wrong_values"] == 0)
        value("SET", "s:%012d" % 7, old)
        self.expect("a lost write is seen", self.read_all("string", 1)["wrong_values"] == 1)
        value("SET", "s:%012d" % 8, "x")
        value("DEL", "h:%012d" % 8)
        value("SET", "h:%012d" % 8, "x")
        self.expect("an error reply is seen", self.read_all("hash", 1)["errors"] == 1)

    def probe(self):
        path = os.path.join(os.path.dirname(self.ledger), "probed")
        with open(path, "wb") as file:
            file.write(os.urandom(1 << 20))
        line = self.loadgen("probe", "--path", path, "--threads", "2", "--seconds", "0.2")[0]
        self.expect("the disk is read", line["reads_per_second"] > 0)

    def misuse(self):
        self.loadgen("run", "--group", "pattern=unknown", code=2)
        self.loadgen("run", "--group", "unknown=1", code=2)
        self.loadgen("run", "--group", "reads=101", code=2)
        self.loadgen("run", code=2)
        self.loadgen("load", "--unknown", "1", code=2)
        self.loadgen("probe", "--path", "/nonexistent", code=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=servers.REDIS_SERVER)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--dir", help="a folder on a disk: probe reads past the system's cache")
    args = parser.parse_args()
    with servers.Server(args.server) as server, tempfile.TemporaryDirectory(dir=args.dir) as directory:
        test = Test(args, server, directory)
        test.good_runs()
        test.rate_beyond_the_server()
        test.wrong_values()
        test.probe()
        test.misuse()
    print("passed")


if __name__ == "__main__":
    main()
