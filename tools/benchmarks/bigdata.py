"""More data than memory: what our server makes of the disk, in numbers.

    tools/dev bench bigdata [--quick] [--scale 0.5] [--json out.json]

The server runs under a memory limit of 512 MiB, which also counts the page cache, on 3 GiB of values of 1 KiB and a
tenth as many small hashes and lists. thermocline-loadgen drives it and checks every byte that it reads. Each phase
tells: requests per second and their latencies; which share of them was answered from the hot tier, from RocksDB's
caches, and by a reader thread; reads of files per request, and KiB that came from the disk; CPU of the server per
request; peak memory. "disk" is how many random reads per second as many threads get from the same files past the
system's cache. At the end the goals. Where the machine has no way to limit memory, the first line says so, and the
page cache holds much of the data: then shares of the disk's limit mean little.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from benchmarks import say
from benchmarks.memory_limit import MemoryLimit, read, write
from lib import servers

MIB = 1 << 20
FULL_KEYS = 3 << 20  # of 1 KiB: 3 GiB
FULL_LIMIT_BYTES = 512 * MIB
FIXED_BYTES = 160 * MIB
QUICK_SCALE = 0.25
READERS = 8  # the default of io-readers
HOT_KEYS = 1000
CLIENTS = 50


class ServerDied(Exception):
    """While it was driven: under a memory limit that is what happens to a server that takes too much."""


class Totals:
    """What the server and the system have counted so far. The difference of two is a phase."""

    def __init__(self, server):
        connection = server.connect()
        lines = connection.value("INFO", "everything").decode().splitlines()
        connection.close()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        self.faults = int(info["faults"])
        self.cached = int(info["cached_reads"])
        self.file_reads = int(info["rocksdb_file_reads"])
        self.disk_bytes = int(info["disk_bytes"])
        self.cpu_s = server.cpu_seconds()
        self.read_bytes = 0  # that came from the disk
        for line in read(f"/proc/{server.process.pid}/io").splitlines():
            if line.startswith("read_bytes:"):
                self.read_bytes = int(line.split()[1])


class BigData:
    def __init__(self, args):
        self.args = args
        self.scale = args.scale or (QUICK_SCALE if args.quick else 1.0)
        self.seconds = args.seconds or (4 if args.quick else 15)
        self.keys = int(FULL_KEYS * self.scale)
        # What the server needs beside its data does not shrink with them.
        self.limit_bytes = FIXED_BYTES + int((FULL_LIMIT_BYTES - FIXED_BYTES) * self.scale)
        self.phases = {}
        self.limits = {}  # reads per second of the disk, by threads
        self.wrong = self.errors = 0
        self.limit_peak_bytes = None
        self.died = []  # phases
        self.seed = 0

    # ---- the programs

    def loadgen(self, *words):
        """Runs the generator. Returns its lines."""
        command = [os.path.join(self.args.build, "bin/thermocline-loadgen"), *[str(word) for word in words]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stderr:
            say(done.stderr.strip())
        if done.returncode not in (0, 1):
            try:
                self.server.process.wait(1)
                raise ServerDied
            except subprocess.TimeoutExpired:
                pass
            raise SystemExit(f"{' '.join(command)} failed\n{self.server.log_tail()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def traffic(self, *words):
        # Each run asks for other keys than the one before: else a cold phase would find them all in some cache.
        self.seed += 1
        lines = self.loadgen(*words, "--ledger", self.ledger, "--port", self.server.port, "--seed", self.seed)
        self.wrong += sum(line["wrong_values"] for line in lines)
        self.errors += sum(line["errors"] for line in lines)
        return lines

    def options(self, readers):
        return [
            # At full scale the first two are what `auto` chooses under such a limit.
            "--maxmemory", str(int(FULL_LIMIT_BYTES / 2 * self.scale)),
            "--rocksdb-block-cache-size", str(int(FULL_LIMIT_BYTES / 16 * self.scale)),
            "--rocksdb-write-buffer-size", str(max(int(16 * MIB * self.scale), 1 * MIB)),
            "--appendfsync", "everysec",
            "--rocksdb-direct-reads", "yes",
            "--io-readers", str(readers),
        ] + servers.split_options(self.args.option)  # fmt: skip

    def restart(self, readers=READERS):
        self.server.terminate()
        self.server.options = self.options(readers)
        self.server.start()
        for _ in range(600):  # a warm start is no part of what is measured
            if self.server.info("warming") == "0":
                break
            time.sleep(0.1)

    def wait_quiet(self):
        """Until flushes and compactions have ended, and the system has written what they left."""
        quiet, begin = 0, time.monotonic()
        while quiet < 3 and time.monotonic() - begin < 120:
            before = self.server.cpu_seconds()
            time.sleep(0.5)
            quiet = quiet + 1 if self.server.cpu_seconds() - before < 0.03 else 0
        os.sync()

    def probe(self, threads):
        if threads not in self.limits:
            line = self.loadgen("probe", "--path", os.path.join(self.server.directory, "rocksdb"), "--threads", threads,
                                "--seconds", min(self.seconds / 2, 5))  # fmt: skip
            self.limits[threads] = line[0]
            say(f"disk: {threads} threads, reads of {line[0]['read_bytes']} bytes: "
                f"{line[0]['reads_per_second']:.0f}/s, p50 {line[0]['p50_us']:.0f} us, p99 {line[0]['p99_us']:.0f} us")  # fmt: skip
        return self.limits[threads]["reads_per_second"]

    # ---- phases

    def record(self, name, lines, before, after, readers=READERS):
        """Keeps what is known of a phase, and prints it."""
        count = sum(line[kind]["count"] for line in lines for kind in ("reads", "writes"))
        seconds = lines[0]["seconds"]
        faults, cached = after.faults - before.faults, after.cached - before.cached
        phase = {
            "groups": lines,
            "ops": count / seconds,
            "disk_share": faults / count,
            "cached_share": cached / count,
            "hot_share": max(0.0, 1 - (faults + cached) / count),
            "file_reads": (after.file_reads - before.file_reads) / count,
            "read_kib": (after.read_bytes - before.read_bytes) / count / 1024,
            "cpu_us": (after.cpu_s - before.cpu_s) / count * 1e6,
            "faults_per_second": faults / seconds,
            "peak_rss": self.server.rss_bytes("VmHWM"),
            "readers": readers,
            "of_disk": faults / seconds / self.limits[readers]["reads_per_second"] if readers in self.limits else None,
        }
        self.phases[name] = phase
        for text in self.format_phase(name, phase):
            say(text)

    def phase(self, name, *groups, warm=True, readers=READERS):
        """Runs the groups (specifications of the generator) at one time, first to warm up."""
        try:
            self.run_phase(name, [word for group in groups for word in ("--group", group)], warm, readers)
        except ServerDied:
            say(f"{name}: the server was killed (exit code {self.server.process.returncode})")
            self.died.append(name)
            self.server.start()

    def run_phase(self, name, words, warm, readers):
        if warm:
            self.traffic("run", *words, "--seconds", self.seconds / 2)
        write(f"/proc/{self.server.process.pid}/clear_refs", "5")  # the peak of the resident set starts anew
        perf = None
        if self.args.perf and name == self.args.perf_phase:
            perf = subprocess.Popen(["perf", "record", "-q", "-F", "499", "-g", "-p", str(self.server.process.pid),
                                     "-o", self.args.perf, "--", "sleep", str(self.seconds)])  # fmt: skip
        before = Totals(self.server)
        lines = self.traffic("run", *words, "--seconds", self.seconds)
        self.record(name, lines, before, Totals(self.server), readers)
        if perf:
            perf.wait()

    def load(self):
        before = Totals(self.server)
        # Few at one time: loading is here to have data, the storm of writes comes later.
        words = ["load", "--strings", self.keys, "--hashes", self.keys // 10, "--lists", self.keys // 10,
                 "--connections", 4, "--pipeline", 4]  # fmt: skip
        lines = self.traffic(*words, *(["--compressible"] if self.args.compressible else []))
        self.record("load", lines, before, Totals(self.server))
        self.wait_quiet()
        self.data_bytes = (self.keys + self.keys // 10 * 2) * 1024
        self.disk_bytes = Totals(self.server).disk_bytes
        say(f"on disk: {self.disk_bytes / MIB:.0f} MiB for {self.data_bytes / MIB:.0f} MiB of values")

    def run_phases(self):
        self.load()
        self.probe(READERS)
        self.probe(1)
        zipfian = f"name=zipfian,pattern=zipfian,connections={CLIENTS}"
        self.phase("uniform GET", f"name=uniform,connections={CLIENTS}")
        self.phase("zipfian GET", zipfian)
        self.restart()
        self.phase("zipfian 90/10", zipfian + ",reads=90")
        self.restart(readers=1)
        self.phase("90/10, one reader", zipfian + ",reads=90", readers=1)
        self.restart()
        # As fast as a few and as many connections can, and at a rate that leaves the cores mostly free.
        for name, group in (("8 hot", "connections=8"), ("32 hot", "connections=32"),
                            ("20,000/s", "connections=8,rate=20000")):  # fmt: skip
            hot = f"name=hot,keys={HOT_KEYS},{group}"
            self.phase(f"{name} alone", hot)
            self.phase(f"{name}, 32 cold", hot, "name=cold,connections=32")
        self.phase("8 hot, 50 cold", f"name=hot,keys={HOT_KEYS},connections=8", "name=cold,connections=50")
        self.phase("HGETALL of 10", f"name=hash,type=hash,connections={CLIENTS}")
        self.phase("LRANGE of 10", f"name=list,type=list,connections={CLIENTS}")
        self.phase("scan", f"name=scan,pattern=scan,connections={CLIENTS}", warm=False)
        self.phase("write storm", "name=reader,pattern=zipfian,connections=8",
                   "name=writer,connections=32,pipeline=16,reads=0", warm=False)  # fmt: skip
        # What the storm has written is all there after a restart.
        self.restart()
        self.phase("after the storm", f"name=uniform,connections={CLIENTS}", warm=False)

    def run(self):
        args = self.args
        where = subprocess.run(["stat", "-f", "-c", "%T", args.data_dir or tempfile.gettempdir()], capture_output=True,
                               text=True, check=True).stdout.strip()  # fmt: skip
        if where in ("tmpfs", "ramfs"):
            raise SystemExit(f"the data would lie in RAM ({where}): name a folder on a disk with --data-dir")
        directory = tempfile.mkdtemp(prefix="thermocline-bigdata-", dir=args.data_dir)
        self.ledger = os.path.join(directory, "ledger")
        os.mkdir(os.path.join(directory, "data"))
        with MemoryLimit(self.limit_bytes) as limit:
            self.how = (f"limit of {self.limit_bytes / MIB:.0f} MiB in force, page cache included ({limit.kind})"
                        if limit.kind else "NO LIMIT ON MEMORY in force: the page cache may hold the data")  # fmt: skip
            self.how += f"; load average {os.getloadavg()[0]:.1f} before the start"
            say(self.how)
            say(self.how)
            self.server = servers.Server(os.path.join(args.build, "bin/thermocline-server"), self.options(READERS),
                                         directory=os.path.join(directory, "data"), wait_s=120,
                                         launcher=limit.launcher)  # fmt: skip
            try:
                self.server.start()
                self.run_phases()
                self.limit_peak_bytes = limit.peak_bytes()
            except ServerDied as error:
                raise SystemExit("the server was killed while it was loaded") from error
            except servers.StartError as error:
                raise SystemExit(str(error)) from error
            except OSError as error:  # of /proc: the server is gone
                raise SystemExit(f"{error}\n{self.server.log_tail()}") from error
            finally:
                self.server.stop()
                if not args.keep:
                    shutil.rmtree(directory, ignore_errors=True)
        self.print_all()
        return 0 if self.wrong == 0 and self.errors == 0 and not self.died else 1

    # ---- output

    HEADER = (f"{'phase':18} {'group':8} {'ops/s':>9} {'p50':>7} {'p99':>8} {'p99.9':>8} {'max ms':>8} | {'hot':>5} "
              f"{'cached':>6} {'disk':>5} {'reads':>6} {'KiB':>6} {'CPU us':>7} {'RSS MiB':>7} | {'of disk':>7}")  # fmt: skip

    def format_phase(self, name, phase):
        lines = []
        for line in phase["groups"]:
            for kind in ("reads", "writes"):
                counts = line[kind]
                if not counts["count"]:
                    continue
                text = (f"{name if not lines else '':18} {line['group'] if kind == 'reads' else 'writes':8} "
                        f"{counts['per_second']:9.0f} {counts['p50_us'] / 1000:7.2f} {counts['p99_us'] / 1000:8.2f} "
                        f"{counts['p999_us'] / 1000:8.2f} {counts['max_us'] / 1000:8.2f} |")  # fmt: skip
                if not lines:
                    of_disk = f"{phase['of_disk']:7.0%}" if phase["of_disk"] is not None else ""
                    text += (f" {phase['hot_share']:5.0%} {phase['cached_share']:6.0%} {phase['disk_share']:5.0%}"
                             f" {phase['file_reads']:6.2f} {phase['read_kib']:6.1f} {phase['cpu_us']:7.1f}"
                             f" {phase['peak_rss'] / MIB:7.0f} | {of_disk}")  # fmt: skip
                lines.append(text)
        return lines

    def counts(self, phase, group, kind="reads"):
        return next(line for line in self.phases[phase]["groups"] if line["group"] == group)[kind]

    def goals(self):
        """Rows of: goal, reached, whether it is."""
        rows = []

        def goal(text, measure):
            try:
                reached, good = measure()
            except KeyError:  # the server died in that phase
                reached, good = "not measured", False
            rows.append((text, reached, good))

        def of_disk():
            share = self.phases["uniform GET"]["of_disk"]
            return f"{share:.0%}", share >= 0.7

        def beside_cold(hot):
            quiet = self.counts(f"{hot} alone", "hot")["p99_us"]
            beside = self.counts(f"{hot}, 32 cold", "hot")["p99_us"]
            text = f"{beside / 1000:.3f} ms, quiet {quiet / 1000:.3f} ms: {beside / quiet:.2f}x"
            return text, beside < 2 * quiet

        def readers():
            ratio = self.phases["zipfian 90/10"]["ops"] / self.phases["90/10, one reader"]["ops"]
            return f"{ratio:.2f}x", ratio >= 1.5

        def memory():
            peak = max(phase["peak_rss"] for phase in self.phases.values())
            killed = f", killed in: {', '.join(self.died)}" if self.died else ""
            return f"{peak / MIB:.0f} MiB{killed}", peak <= self.limit_bytes and not self.died

        def rate(phase, least):
            return lambda: (f"{self.phases[phase]['ops']:.0f}", self.phases[phase]["ops"] >= least)

        def hot_beside_50():
            p99_ms = self.counts("8 hot, 50 cold", "hot")["p99_us"] / 1000
            return f"{p99_ms:.2f} ms", p99_ms <= 10

        goal(f"uniform: cold GETs at 70% of what {READERS} threads get from the disk", of_disk)
        for hot in ("8 hot", "32 hot"):
            goal(f"p99 of GETs of {hot} clients beside 32 cold ones below twice the quiet one",
                 lambda hot=hot: beside_cold(hot))  # fmt: skip
        goal("zipfian 90/10 at 1.5x of io-readers 1", readers)
        goal(f"resident memory within {self.limit_bytes / MIB:.0f} MiB", memory)
        goal("no wrong value, no error",
             lambda: (f"{self.wrong} wrong, {self.errors} errors", self.wrong + self.errors == 0))  # fmt: skip
        goal("30,000 uniform GETs/s", rate("uniform GET", 30000))
        goal("45,000 zipfian GETs/s", rate("zipfian GET", 45000))
        goal("39,000 at zipfian 90/10", rate("zipfian 90/10", 39000))
        goal("p99 of hot GETs beside 50 cold readers 10 ms", hot_beside_50)
        return rows

    def print_all(self):
        print(f"\n{self.how}; {self.keys} keys of 1 KiB, {self.keys // 10} hashes and as many lists; "
              f"{self.seconds} s per phase")  # fmt: skip
        for threads, line in self.limits.items():
            print(f"disk, {threads} threads, {line['read_bytes']} bytes: {line['reads_per_second']:.0f} reads/s, "
                  f"p50 {line['p50_us'] / 1000:.2f} ms, p99 {line['p99_us'] / 1000:.2f} ms")  # fmt: skip
        print(f"on disk {self.disk_bytes / MIB:.0f} MiB for {self.data_bytes / MIB:.0f} MiB of values\n")
        print(self.HEADER)
        for name, phase in self.phases.items():
            print("\n".join(self.format_phase(name, phase)))
        if "write storm" in self.phases:
            reader, writer = self.counts("write storm", "reader"), self.counts("write storm", "writer", "writes")
            print(f"\nworst second of the write storm: {reader['worst_second']} reads (mean {reader['per_second']:.0f}), "
                  f"{writer['worst_second']} writes (mean {writer['per_second']:.0f})")  # fmt: skip
        if self.limit_peak_bytes is not None:
            print(f"peak with the page cache: {self.limit_peak_bytes / MIB:.0f} MiB")
        print(f"\n{'goal':72} {'reached':36}")
        goals = self.goals()
        for goal, reached, good in goals:
            print(f"{goal:72} {reached:36} {'yes' if good else 'NO'}")
        if self.args.json:
            with open(self.args.json, "w", encoding="utf-8") as file:
                json.dump({"phases": self.phases, "disk": self.limits, "goals": goals, "memory": self.how}, file, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="folder with bin/ of the build")
    parser.add_argument("--scale", type=float, help="of data and memory; 1: 3 GiB of values in 512 MiB")
    parser.add_argument("--quick", action="store_true", help="a quarter of the data, short phases: two minutes")
    parser.add_argument("--seconds", type=float, help="per phase: 15, with --quick 4")
    parser.add_argument("--compressible", action="store_true", help="values of which half compresses away")
    parser.add_argument("--option", action="append", help="option for the server: --option='--io-readers 16'")
    parser.add_argument("--data-dir", help="a folder on the disk to be measured; the system's temporary folder")
    parser.add_argument("--keep", action="store_true", help="do not delete the data")
    parser.add_argument("--perf", metavar="FILE", help="profile the server in one phase into this file")
    parser.add_argument("--perf-phase", default="uniform GET")
    parser.add_argument("--json", help="write the figures to this file")
    sys.exit(BigData(parser.parse_args()).run())


if __name__ == "__main__":
    main()
