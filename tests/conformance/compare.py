"""Decides whether two replies are equal, under the named exceptions of the case files."""

import re


def canonical(reply):
    """The reply as a nested tuple whose aggregates are sorted at every level; map entries stay together."""
    if not isinstance(reply.value, list):
        return (reply.kind, reply.value)
    items = [canonical(item) for item in reply.value]
    if reply.kind in b"%|":
        items = list(zip(items[::2], items[1::2]))
    return (reply.kind, tuple(sorted(items, key=repr)))


def in_pairs(reply):
    """Like canonical() for a flat list of pairs, as RESP2 sends a map."""
    if not isinstance(reply.value, list) or len(reply.value) % 2:
        return canonical(reply)
    items = [canonical(item) for item in reply.value]
    return (reply.kind, tuple(sorted(zip(items[::2], items[1::2]), key=repr)))


def near(a, b, distance):
    """Equal in shape; numbers may differ by `distance`. Negative numbers stand for 'no expiry' or 'no key' and must
    be equal."""
    if a.kind != b.kind or isinstance(a.value, list) != isinstance(b.value, list):
        return False
    if isinstance(a.value, list):
        return len(a.value) == len(b.value) and all(near(x, y, distance) for x, y in zip(a.value, b.value))
    if a.value == b.value:
        return True
    try:
        x, y = float(a.value), float(b.value)
    except (TypeError, ValueError):
        return False
    return x >= 0 and y >= 0 and abs(x - y) <= distance


def same_shape(a, b):
    """The same kind of reply: for an error the same first word too, for an aggregate the same length."""
    if a.kind != b.kind or (a.value is None) != (b.value is None):
        return False
    if a.is_error():
        return a.value.split(b" ")[0] == b.value.split(b" ")[0]
    if isinstance(a.value, list):
        return len(a.value) == len(b.value)
    return True


# INFO fields about machinery that Thermocline has not (RDB forks, AOF rewrites, scripts, defragmentation, Redis's own
# expiry cycle and reply buffers).
NOT_OURS = re.compile(
    rb"(aof_rewrites.*|current_save_keys_.*|rdb_.*|.*active_defrag.*|.*eviction_exceeded_time|"
    rb"dump_payload_sanitizations|expire_cycle_cpu_milliseconds|expired_stale_perc|expired_time_cap_reached_count|"
    rb"instantaneous_.*_repl_kbps|io_threaded_.*|reply_buffer_.*|total_(reads|writes)_processed|"
    rb"unexpected_error_replies|mem_.*replication.*|number_of_.*|used_memory_(lua|scripts|vm|functions).*)"
)


def names(reply):
    """The names in texts of name=value and name:value, as INFO and CLIENT LIST have them."""
    if isinstance(reply.value, list) or reply.value is None:
        return None
    return set(re.findall(rb"(?m)(?:^|\s)([A-Za-z_0-9-]+)[=:]", reply.value))


def missing_names(oracle, ours):
    missing = (names(oracle) or set()) - (names(ours) or set())
    return sorted(name for name in missing if not NOT_OURS.fullmatch(name))


class Rule:
    """How a step's replies are compared. Without exceptions: byte for byte."""

    def __init__(self):
        self.mode = "exact"
        self.distance = 0
        self.patterns = []

    def equal(self, oracle, ours):
        """`oracle`, `ours`: sides.Outcome."""
        if oracle.state != ours.state:
            return False
        if self.mode == "ignore":
            return True
        if self.patterns:
            return all(re.search(pattern, side.raw) for pattern in self.patterns for side in (oracle, ours))
        if self.mode == "digits":
            return re.sub(rb"\d+", b"0", oracle.raw) == re.sub(rb"\d+", b"0", ours.raw)
        if oracle.state != "reply":
            return oracle.raw == ours.raw
        if oracle.raw == ours.raw and self.mode != "names":
            return True
        a, b = oracle.reply, ours.reply
        if self.mode == "unordered":
            return canonical(a) == canonical(b)
        if self.mode == "pairs":
            return in_pairs(a) == in_pairs(b)
        if self.mode == "near":
            return near(a, b, self.distance)
        if self.mode == "type-only":
            return same_shape(a, b)
        if self.mode == "names":
            return a.kind == b.kind and names(a) is not None and names(b) is not None and missing_names(a, b) == []
        return False

    def why(self, oracle, ours):
        """A hint beside a mismatch, or an empty text."""
        if oracle.state != ours.state or oracle.state != "reply":
            return ""
        if self.mode == "names":
            return "missing names: " + b" ".join(missing_names(oracle.reply, ours.reply)).decode()
        if self.patterns:
            return "patterns: " + " ".join(repr(pattern)[1:] for pattern in self.patterns)
        return ""
