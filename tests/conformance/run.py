#!/usr/bin/python3
"""Sends the case files to redis-server and to our server, and compares the replies byte for byte.

    run.py --server build/release/bin/thermocline-server [--option "--maxmemory 1mb"] [--jobs 2] [name ...]
    run.py --server ... --cold  ours keeps nothing in RAM: commands wait for the disk
    run.py --server ... --option "--maxmemory 64kb" --policies all    each file under each policy; one: drawn for each
    run.py                      redis-server against itself: tests the case files

Names choose files whose path contains one of them. The exit code is 1 if a reply differed.
"""

import argparse
import glob
import os
import queue
import random
import sys
import threading
import time

import case_file
import sides
from lib import servers

HERE = os.path.dirname(os.path.abspath(__file__))
SETTLE_S = 0.02  # until a command that is not answered yet has surely arrived
FLUSH_EVERY = 4  # steps, with --cold
RAW_IDLE_S = 0.06  # @raw: the oracle is taken to have said everything when it was silent for so long


class FileRun:
    """Runs one case file on a pair of servers and collects the mismatches."""

    def __init__(self, case, pair, verbose=False, cold=False):
        self.case = case
        self.pair = pair
        self.verbose = verbose
        self.cold = cold
        self.name = "main"  # the connection in use
        self.passed = 0
        self.failures = []  # texts
        self.log = []

    def run(self):
        try:
            if self.case.fresh:
                self.fresh()
            for number, step in enumerate(self.case.steps):
                if self.cold and number % FLUSH_EVERY == 0:
                    self.flush()
                if not self.run_step(step):
                    break
        except Exception as error:  # a server that went away, or a fault of the runner: the file fails
            self.failures.append(f"{self.case.path}: {type(error).__name__}: {error}")
        self.pair.close_connections()

    def flush(self):
        control = self.pair.ours.control()
        self.pair.ours.server.flush(control)
        control.close()

    def fresh(self):
        """Empty databases, new connections."""
        self.pair.close_connections()
        for side in self.pair.sides():
            control = side.control()
            control.value("FLUSHALL")
            control.close()

    def run_step(self, step):
        """Returns False if the file cannot go on."""
        case_file.stamp(self.pair)
        if step.kind == "sleep":
            time.sleep(step.number / 1000)
        elif step.kind == "connection":
            self.name = step.data
        elif step.kind == "close":
            for side in self.pair.sides():
                side.drop(step.data)
        elif step.kind == "fresh":
            self.fresh()
        elif step.kind == "raw":
            self.raw(step)
        elif step.kind == "alone":
            name, self.name = self.name, "@alone"
            self.raw(step)
            for side in self.pair.sides():
                side.drop(self.name)
            self.name = name
        elif step.kind == "scan":
            self.scan(step)
        elif step.kind == "pipeline":
            self.send_and_compare(step.steps)
        elif step.kind == "read":
            step.data = []
            self.raw(step)
        elif step.kind == "nothing":
            self.nothing(step)
        else:
            self.send_and_compare([step])
        for side in self.pair.sides():
            if not side.server.alive():
                where = f"{os.path.relpath(self.case.path)}:{step.line_number}"
                self.failures.append(f"{where}: {side.server.name} died after: {step.text}\n{side.server.log_tail()}")
                return False
        return True

    def send_and_compare(self, steps):
        for side in self.pair.sides():
            # Encoded first: an id in a command is asked for over the same connections.
            data = b"".join(step.encode(side) for step in steps)
            side.send(self.name, data)
        if all(step.replies == 0 for step in steps):
            time.sleep(SETTLE_S)  # it must have come before another connection's next command
        self.compare(steps)

    def nothing(self, step):
        outcomes = []
        for side in self.pair.sides():
            text, closed = side.connection(self.name).read_available(RAW_IDLE_S)
            outcomes.append(sides.Outcome("closed" if closed else "silent", raw=text))
        quiet = all(outcome.state == "silent" and not outcome.raw for outcome in outcomes)
        self.judge(step, quiet, *outcomes, "nothing was to come")

    def compare(self, steps):
        for step in steps:
            for _ in range(step.replies):
                oracle, ours = (side.read(self.name) for side in self.pair.sides())
                if oracle.state in ("silent", "garbage"):  # the case file is wrong, or an earlier line was
                    self.judge(step, False, oracle, ours, "redis itself did not answer this command")
                else:
                    self.judge(step, step.rule.equal(oracle, ours), oracle, ours, step.rule.why(oracle, ours))
                if oracle.state != "reply" and ours.state != "reply":
                    return
                if oracle.state != "reply" or ours.state != "reply":
                    self.pair.oracle.drop(self.name)
                    self.pair.ours.drop(self.name)
                    return

    def raw(self, step):
        data = b"".join(part if isinstance(part, bytes) else part(self.pair.oracle) for part in step.data)
        for side in self.pair.sides():
            if data:
                side.send(self.name, data)
        oracle, closed = self.pair.oracle.connection(self.name).read_available(RAW_IDLE_S)
        deadline = time.monotonic() + 3
        ours, our_closed = self.pair.ours.connection(self.name).read_available(RAW_IDLE_S)
        while time.monotonic() < deadline and not our_closed and (len(ours) < len(oracle) or closed):
            more, our_closed = self.pair.ours.connection(self.name).read_available(RAW_IDLE_S)
            ours += more
        outcomes = [
            sides.Outcome("closed" if is_closed else "silent", raw=text)
            for text, is_closed in ((oracle, closed), (ours, our_closed))
        ]
        if closed or our_closed:
            for side in self.pair.sides():
                side.drop(self.name)
        if step.kind == "read" and not oracle and not closed:
            self.judge(step, False, *outcomes, "redis itself sent nothing")
        else:
            self.judge(step, step.rule.equal(*outcomes), *outcomes)

    def scan(self, step):
        """Follows the cursor to its end on each side and compares what came, as a set."""
        found = []
        for side in self.pair.sides():
            args = [arg(side) if callable(arg) else arg for arg in step.args]
            at = 1 if args[0].upper() == b"SCAN" else 2
            size = 2 if args[0].upper() in (b"HSCAN", b"ZSCAN") else 1
            cursor, elements = b"0", set()
            while True:
                side.send(self.name, sides.resp.encode_command(args[:at] + [cursor] + args[at:]))
                outcome = side.read(self.name)
                if outcome.state != "reply" or not isinstance(outcome.reply.value, list):
                    elements = outcome.raw
                    break
                cursor, items = outcome.reply.plain()
                elements.update(zip(*[iter(items)] * size))
                if cursor == b"0":
                    break
            found.append(elements)
        outcomes = [
            sides.Outcome("silent", raw=part if isinstance(part, bytes) else repr(sorted(part)).encode())
            for part in found
        ]
        self.judge(step, found[0] == found[1], *outcomes)

    def judge(self, step, equal, oracle, ours, why=""):
        if self.verbose:
            self.log.append(f"{step.line_number:4}  {step.text[:150]}\n      {oracle.show(300)}")
        if equal:
            self.passed += 1
            return
        text = f"{os.path.relpath(self.case.path)}:{step.line_number}: {step.text[:300]}\n"
        text += f"    redis: {oracle.show()}\n    ours:  {ours.show()}"
        self.failures.append(text + (f"\n    {why}" if why else ""))


class Runner:
    """Hands case files to worker threads, each with its pair of servers."""

    def __init__(self, args):
        self.args = args
        self.options = servers.split_options(args.option)
        self.cold = args.cold and args.server is not None and not servers.is_redis(args.server)
        if self.cold:
            self.options = servers.COLD_OPTIONS + self.options
        self.faults = 0
        self.queue = queue.Queue()
        self.lock = threading.Lock()
        self.passed = 0
        self.failed = 0

    def pair(self, both_options=(), our_options=()):
        """The options of a case file win over those of the run."""
        if servers.is_redis(self.args.server or servers.REDIS_SERVER):
            our_options = ()
        return sides.Pair(self.args.server, self.options + list(our_options), both_options, self.args.timeout)

    def worker(self):
        pair = None
        while True:
            try:
                case, policy = self.queue.get_nowait()
            except queue.Empty:
                break
            try:
                if case.options or case.our_options:
                    own_policy = ["--maxmemory-policy", policy] if policy else []
                    own = self.pair(own_policy + case.options, case.our_options)
                    self.run_file(case, own, policy)
                    self.stop(own)
                    continue
                if pair is None or not pair.alive():
                    if pair is not None:
                        self.stop(pair)
                    pair = self.pair()
                if policy:
                    self.set_policy(pair, policy)
                self.run_file(case, pair, policy)
            except servers.StartError as error:
                self.report(case, 0, [f"{case.path}: {error}"], [])
        if pair is not None:
            self.stop(pair)

    def set_policy(self, pair, policy):
        for side in pair.sides():  # OBJECT tells another thing under each, so Redis gets it, too
            control = side.control()
            control.value("CONFIG", "SET", "maxmemory-policy", policy)
            control.close()

    def stop(self, pair):
        if self.cold and pair.alive():
            with self.lock:
                self.faults += pair.ours.server.faults()
        pair.stop()

    def run_file(self, case, pair, policy):
        run = FileRun(case, pair, self.args.verbose, self.cold)
        run.run()
        self.report(case, run.passed, run.failures, run.log, policy)

    def report(self, case, passed, failures, log, policy=None):
        with self.lock:
            self.passed += passed
            self.failed += len(failures)
            name = os.path.relpath(case.path, HERE) + (f" under {policy}" if policy else "")
            if log:
                print(f"== {name}")
            for line in log + failures:
                print(line)
            if failures or self.args.verbose:
                print(f"-- {name}: {passed} passed, {len(failures)} failed", flush=True)

    def policies(self):
        """Under which to run a file. None: the default."""
        if self.args.policies == "one":
            return [random.choice(servers.POLICIES)]
        return servers.POLICIES if self.args.policies == "all" else [self.args.policies]

    def run(self, cases):
        for case in cases:
            for policy in self.policies():
                self.queue.put((case, policy))
        threads = [threading.Thread(target=self.worker) for _ in range(min(self.args.jobs, len(cases)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{self.passed} passed, {self.failed} failed")
        if self.cold:
            print(f"commands waited for the disk {self.faults} times")
            if self.faults < self.passed // 100:
                print("the run was not cold: it has tested nothing")
                return 1
        return 1 if self.failed or not self.passed else 0


def find_cases(args):
    paths = sorted(glob.glob(os.path.join(args.cases, "**", "*.txt"), recursive=True))
    if args.names:
        paths = [path for path in paths if any(name in path for name in args.names)]
    return [case_file.CaseFile(path) for path in paths]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only files whose path contains one of these")
    parser.add_argument("--server", help="our server's program; without it redis-server stands in")
    parser.add_argument("--oracle-only", action="store_true", help="redis-server against itself")
    parser.add_argument("--option", action="append", help="option for our server, as in --option='--maxmemory 1mb'")
    parser.add_argument("--cold", action="store_true", help="ours keeps nothing in RAM: commands wait for the disk")
    parser.add_argument("--policies", choices=["one", "all"] + servers.POLICIES,
                        help="each file under this maxmemory-policy, one that is drawn for it, or all")  # fmt: skip
    parser.add_argument("--cases", default=os.path.join(HERE, "cases"))
    parser.add_argument("--jobs", type=int, default=2, help="files at a time, each with servers of its own")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for one reply")
    parser.add_argument("--verbose", action="store_true", help="print every command and the oracle's reply")
    args = parser.parse_args()
    if args.oracle_only:
        args.server = None
    try:
        cases = find_cases(args)
    except case_file.CaseError as error:
        print(error)
        return 2
    if not cases:
        print("no case file has such a name")
        return 2
    return Runner(args).run(cases)


if __name__ == "__main__":
    sys.exit(main())
