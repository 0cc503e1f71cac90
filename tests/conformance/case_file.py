"""Reads case files. README.md of this folder describes the format."""

import re
import time

from compare import Rule


class CaseError(Exception):
    """A case file that does not parse; the text names file and line."""


class Token:
    """A word of a line. Only unquoted words can be directives or macros."""

    __slots__ = ("data", "quoted")

    def __init__(self, data, quoted):
        self.data = data
        self.quoted = quoted


ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}


def tokenize(line):
    """Splits a line as redis-cli does: "..." with \\n \\r \\t \\b \\a \\xHH escapes, '...' with \\' only."""
    tokens, i, n = [], 0, len(line)
    while True:
        while i < n and line[i] in " \t":
            i += 1
        if i == n:
            return tokens
        data, quoted, mark = b"", line[i] in "\"'", line[i]
        if not quoted:
            end = i
            while end < n and line[end] not in " \t":
                end += 1
            data, i = line[i:end].encode(), end
        else:
            i += 1
            while True:
                if i >= n:
                    raise ValueError("unbalanced quotes")
                c = line[i]
                if c == mark:
                    break
                if c == "\\" and mark == '"' and i + 1 < n:
                    if line[i + 1] == "x" and re.match("[0-9a-fA-F]{2}", line[i + 2 : i + 4]):
                        data += bytes([int(line[i + 2 : i + 4], 16)])
                        i += 4
                        continue
                    data += ESCAPES.get(line[i + 1], line[i + 1].encode())
                    i += 2
                    continue
                if c == "\\" and mark == "'" and line[i + 1 : i + 2] == "'":
                    data += b"'"
                    i += 2
                    continue
                data += c.encode()
                i += 1
            i += 1
            if i < n and line[i] not in " \t":
                raise ValueError("text right after a closing quote")
        tokens.append(Token(data, quoted))


def expand(token):
    """The arguments that a word stands for. Each is bytes, or a function of a sides.Side that gives bytes (ids and
    addresses differ between the two servers)."""
    if token.quoted or not token.data.startswith(b"@"):
        return [token.data]
    word = token.data.decode()
    name, _, rest = word[1:].partition(":")
    if name == "repeat":
        count, _, text = rest.partition(":")
        return [text.encode() * int(count)]
    if name == "args":
        count, *patterns = rest.split(":")
        return [p.replace("%d", str(i)).encode() for i in range(int(count)) for p in patterns]
    if name == "now":
        return [lambda side: b"%d" % (int(side.now) + int(rest or 0))]
    if name == "now-ms":
        return [lambda side: b"%d" % (int(side.now * 1000) + int(rest or 0))]
    if name == "id":
        return [lambda side: b"%d" % side.client_id(rest)]
    if name == "addr":
        return [lambda side: b"%s:%d" % address(side.connection(rest).socket.getsockname())]
    if name == "laddr":
        return [lambda side: b"%s:%d" % address(side.connection(rest).socket.getpeername())]
    if name == "port":
        return [lambda side: b"%d" % side.server.port]
    raise ValueError(f"unknown macro {word} (write it in quotes if it is meant literally)")


def address(pair):
    return pair[0].encode(), pair[1]


class Step:
    """One line. `kind`: command, read, nothing, raw, alone, scan, sleep, connection, close, fresh, pipeline."""

    def __init__(self, line_number, text, kind):
        self.line_number = line_number
        self.text = text
        self.kind = kind
        self.rule = Rule()
        self.replies = 1
        self.args = []
        self.data = b""
        self.number = 0
        self.steps = []  # of a pipeline

    def encode(self, side):
        """The command's bytes for this side."""
        parts = [arg(side) if callable(arg) else arg for arg in self.args]
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class CaseFile:
    """`options`: servers options of @server lines, for which the file gets servers of its own. `our_options`: of
    @ours lines, which only ours gets then."""

    def __init__(self, path):
        self.path = path
        self.options = []
        self.our_options = []
        self.fresh = True
        self.steps = []
        with open(path, encoding="utf-8") as file:
            self._parse(file.read().splitlines())

    def _parse(self, lines):
        block = None
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            try:
                step = self._step(number, text, tokenize(text))
            except (ValueError, IndexError) as error:
                raise CaseError(f"{self.path}:{number}: {error}") from error
            if step is None:
                continue
            if step.kind == "end":
                block = None
            elif block is not None:
                block.steps.append(step)
            else:
                self.steps.append(step)
                if step.kind == "pipeline":
                    block = step
        if block is not None:
            raise CaseError(f"{self.path}: @pipeline without @end")

    def _step(self, number, text, tokens):
        """A line as a Step; None for a line about the whole file."""
        step = Step(number, text, "command")
        i = 0

        def word():
            nonlocal i
            i += 1
            return tokens[i - 1].data

        while i < len(tokens) and not tokens[i].quoted and tokens[i].data[:1] == b"@" and b":" not in tokens[i].data:
            directive = word()[1:].decode()
            if directive in ("unordered", "type-only", "ignore", "pairs", "names", "digits"):
                step.rule.mode = directive
            elif directive == "near":
                step.rule.mode, step.rule.distance = "near", float(word())
            elif directive == "match":
                step.rule.patterns.append(word())
            elif directive == "replies":
                step.replies = int(word())
            elif directive == "scan":
                step.kind = "scan"
            elif directive in ("raw", "alone"):
                step.kind = directive
                step.data = [expand(token)[0] for token in tokens[i:]]
                return step
            elif directive == "sleep":
                step.kind, step.number = "sleep", float(word())
                return step
            elif directive in ("connection", "close"):
                step.kind, step.data = directive, (word().decode() if i < len(tokens) else "main")
                return step
            elif directive in ("pipeline", "end", "fresh", "nothing", "read"):
                step.kind = directive
                return step
            elif directive in ("resp2", "resp3"):
                step.rule.mode = "ignore"  # the reply names version and id; hello.txt looks at it
                step.args = [b"HELLO", directive[4:].encode()]
                return step
            elif directive == "server":
                self.options += [token.data.decode() for token in tokens[i:]]
                return None
            elif directive == "ours":
                self.our_options += [token.data.decode() for token in tokens[i:]]
                return None
            else:
                raise ValueError(f"unknown directive @{directive}")
        for token in tokens[i:]:
            step.args += expand(token)
        if not step.args:
            raise ValueError("directives without a command")
        return step


def stamp(pair):
    """Fixes what @now means for the next command: one clock for both servers."""
    now = time.time()
    for side in pair.sides():
        side.now = now
