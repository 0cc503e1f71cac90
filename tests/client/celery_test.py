#!/usr/bin/python3
"""Celery, with its broker and its results on our server, does what it does on redis-server.

    celery_test.py --server build/release/bin/thermocline-server
    celery_test.py               redis-server against itself

The same programme runs on both: a worker process, two hundred tasks, retries, countdowns, errors, chains, groups and
chords, priorities, remote control (over PUBLISH), revoked tasks, a queue that outlives the worker and the server.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import servers  # noqa: E402

TASKS = 200
WAIT_S = 20

# What the worker imports. Celery frees a lock by a script (redis-py's Lock.release, EVALSHA) each time that it looks
# for messages whose worker died. On a server without scripts the lock is freed by WATCH and MULTI instead.
APPLICATION = '''
import os
import time

import celery
import redis.lock


class LockWithoutScript(redis.lock.Lock):
    def do_release(self, expected_token):
        def release(pipe):
            if pipe.get(self.name) != expected_token:
                raise redis.exceptions.LockNotOwnedError("Cannot release a lock that's no longer owned")
            pipe.multi()
            pipe.delete(self.name)

        self.redis.transaction(release, self.name)


if os.environ["WITHOUT_SCRIPTS"]:
    redis.lock.Lock.do_release = LockWithoutScript.do_release

app = celery.Celery("application", broker=os.environ["SERVER_URL"], backend=os.environ["SERVER_URL"])
app.conf.update(result_expires=3600, task_track_started=True, broker_connection_retry=True,
                broker_transport_options={"priority_steps": [0, 5, 9], "queue_order_strategy": "priority"},
                worker_prefetch_multiplier=2, task_acks_late=True)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def broken(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task
def now():
    return time.time()


@app.task(bind=True)
def steps(self):
    for i in range(3):
        self.update_state(state="PROGRESS", meta={"step": i})
    return "done"
'''

class Run:
    """The programme on one server. `outcome`: what it gave, to be compared."""

    def __init__(self, server, directory):
        self.server = server
        self.directory = directory
        self.worker = None
        self.log = os.path.join(directory, "worker.log")
        self.outcome = {}

    def environment(self):
        connection = self.server.connect()
        reply = connection.call("EVALSHA", "0" * 40, 0)
        connection.close()
        return dict(os.environ, SERVER_URL=f"redis://127.0.0.1:{self.server.port}/2", PYTHONDONTWRITEBYTECODE="1",
                    WITHOUT_SCRIPTS="yes" if b"unknown command" in reply.raw else "")  # fmt: skip

    def start_worker(self):
        with open(self.log, "ab") as log:
            self.worker = subprocess.Popen(
                ["/usr/bin/python3", "-m", "celery", "-A", "application", "worker", "--concurrency", "2",
                 "--loglevel", "INFO"],
                cwd=self.directory, env=self.environment(), stdout=log, stderr=log)  # fmt: skip

    def stop_worker(self):
        if self.worker is not None and self.worker.poll() is None:
            self.worker.send_signal(signal.SIGTERM)
            try:
                self.worker.wait(15)
            except subprocess.TimeoutExpired:
                self.worker.kill()
                self.worker.wait()
        self.worker = None

    def client(self, action):
        """Runs a part of the programme in a process of its own, as a web application's would be."""
        command = ["/usr/bin/python3", os.path.abspath(__file__), "--client", action]
        environment = self.environment()
        environment["PYTHONPATH"] = self.directory
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode:
            raise RuntimeError(f"{self.server.name}, {action}: {result.stderr[-3000:]}\n{self.worker_log()}")
        if result.stderr:
            print(f"{self.server.name}, {action}: {result.stderr}", end="")
        self.outcome[action] = result.stdout

    def worker_log(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "the worker's log ends with:\n" + log.read()[-3000:]

    def run(self):
        with open(os.path.join(self.directory, "application.py"), "w", encoding="utf-8") as file:
            file.write(APPLICATION)
        try:
            self.client("queue_up")
            if not servers.is_redis(self.server.binary):  # the oracle keeps nothing
                self.server.terminate()
                self.server.start()
            self.start_worker()
            for action in ("results", "one_by_one", "control"):
                self.client(action)
            self.stop_worker()
            self.client("left_over")
        finally:
            self.stop_worker()


# ---- The parts that run in a process of their own; what they print is compared ----


def get(result):
    """Waits for a task's result and returns it.

    Celery sends SUBSCRIBE on one connection and then, without waiting for its reply, looks at the key on another. If
    the second overtakes the first and the result comes in between, Celery misses it on any server. get() looks at the
    key again when called again. Once in a process is let pass: a server that loses messages does so more often.
    """
    import celery

    global looked_again
    try:
        return result.get(timeout=WAIT_S)
    except celery.exceptions.TimeoutError:
        if looked_again:
            raise
    looked_again = True
    print(f"{result} came unnoticed", file=sys.stderr)
    return result.get(timeout=WAIT_S)


looked_again = False


def queue_up(app):
    """Nobody works yet: ours is restarted on what is queued here."""
    from application import add

    for i in range(50):
        add.apply_async((i, 1), task_id=f"early-{i}")
    print(app.connection().default_channel.client.llen("celery"))


def results(app):
    from application import add

    early = [get(app.AsyncResult(f"early-{i}")) for i in range(50)]
    late = [add.delay(i, i) for i in range(TASKS)]
    print(early, [get(result) for result in late])
    late[0].forget()
    print(late[0].state, late[1].state)


def one_by_one(app):
    import datetime

    import celery
    from application import add, broken, now, steps, third_time, total

    print("retries", get(third_time.delay()))
    begin = time.time()
    eta = datetime.datetime.fromtimestamp(begin + 1.5, datetime.timezone.utc)
    slow = [now.apply_async(countdown=1.2), now.apply_async(eta=eta)]
    failed = broken.delay("on purpose")
    try:
        get(failed)
    except ValueError as error:
        print("error", error, failed.state, "ValueError" in failed.traceback)
    print("chain", get(celery.chain(add.s(1, 2), add.s(10), add.s(100)).delay()))
    print("group", get(celery.group(add.s(i, i) for i in range(20))()))
    print("chord", get(celery.chord([add.s(i, i) for i in range(10)])(total.s())))
    print("steps", get(steps.delay()))
    priorities = [add.apply_async((i, 0), priority=i % 10) for i in range(30)]
    print("priorities", sorted(get(result) for result in priorities))
    expired = add.apply_async((1, 1), countdown=1, expires=0.2)
    print("later", [get(result) >= begin + 1.2 for result in slow])
    try:
        get(expired)
    except celery.exceptions.TaskRevokedError:
        print("expired", expired.state)


def control(app):
    from application import add

    replies = app.control.ping(timeout=5, limit=1)
    print("ping", [list(reply.values()) for reply in replies])
    inspect = app.control.inspect(timeout=5, limit=1)
    print("tasks", sorted(next(iter(inspect.registered().values()))))
    doomed = add.apply_async((1, 2), countdown=2)
    app.control.revoke(doomed.id, reply=True, timeout=5, limit=1)
    try:
        get(doomed)
    except Exception as error:
        print("revoked", type(error).__name__, doomed.state)


def left_over(app):
    """No message is queued, none is unacknowledged, and every result has its time."""
    client = app.connection().default_channel.client
    names = sorted(key.decode() for key in client.scan_iter("*") if not key.startswith(b"celery-task-meta-"))
    print([name for name in names if not name.startswith("_kombu")], client.hlen("unacked"), client.zcard("unacked_index"))
    metas = list(client.scan_iter("celery-task-meta-*"))
    print(len(metas), all(0 < client.ttl(key) <= 3600 for key in metas))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=servers.REDIS_SERVER, help="our server's program")
    parser.add_argument("--option", action="append", help="option for our server, as in --option='--maxmemory 1mb'")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        from application import app

        {f.__name__: f for f in (queue_up, results, one_by_one, control, left_over)}[args.client](app)
        return 0
    try:
        import celery  # noqa: F401
    except ImportError:
        print("Celery is not installed (python3-celery)")
        return 0
    outcomes = []
    for binary in (servers.REDIS_SERVER, args.server):
        options = servers.ORACLE_OPTIONS if servers.is_redis(binary) else servers.split_options(args.option)
        with servers.Server(binary, options) as server, tempfile.TemporaryDirectory() as directory:
            run = Run(server, directory)
            begin = time.monotonic()
            run.run()
            print(f"{server.name}: {time.monotonic() - begin:.1f} s", flush=True)
            outcomes.append(run.outcome)
    failed = 0
    for action, expected in outcomes[0].items():
        if outcomes[1][action] != expected:
            failed = 1
            print(f"{action}:\n" + textwrap.indent(f"redis: {expected}\nours:  {outcomes[1][action]}", "  "))
    return failed


if __name__ == "__main__":
    sys.exit(main())
