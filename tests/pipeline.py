# pipeline.py - run mb's pipelines, undisturbed or not, and look at the sink.
#
# Shared by fault-loop and power.  A Case is one combination of source and
# sink; run() starts its line in a directory W and waits; check() says what is
# wrong in W afterwards, compared with the undisturbed run.

import atexit
import glob
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import namedtuple

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("MB_BIN", os.path.join(TOP, "build", "bin"))
FAULT_SO = os.path.join(TOP, "build", "tests", "fault.so")
DELTA_DUMP = os.path.join(TOP, "build", "tests", "delta_dump")



def freeze_tools():
    """Work on a copy of the tools, so that a build meanwhile is harmless."""
    global BIN, FAULT_SO, DELTA_DUMP
    copy = tempfile.mkdtemp(prefix="mb-tools.")
    atexit.register(remove_if_mine, copy, os.getpid())
    for program in PROGRAMS + ("mb-replay",):
        shutil.copy2(os.path.join(BIN, program), copy)
    shutil.copy2(FAULT_SO, copy)
    shutil.copy2(DELTA_DUMP, copy)
    BIN, FAULT_SO = copy, os.path.join(copy, "fault.so")
    DELTA_DUMP = os.path.join(copy, "delta_dump")


def remove_if_mine(path, pid):
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)


# The wall clock of every run, so that plans carry the same times.
CLOCK = 1795435200
TIMEOUT = 20
PER_BATCH = 3
ROWS = 14

Case = namedtuple("Case", "source sink")
CASES = [Case(source, sink) for source in ("file", "pipe")
         for sink in ("dir", "append", "merge", "delta")]
PROGRAMS = ("mb-collect", "mb-agg", "mb-commit")
# What is special in these is mb-collect's affair.
COMPRESSED = [Case("gz", "dir")]
# Two files, and a file that was rotated when it was half read.
FILES = [Case(source, "dir") for source in ("directory", "rotated")]
# A command per batch: one that remembers the token, one that doesn't.
COMMANDS = [Case("file", "token"), Case("file", "again")]
REMEMBER = """
    set -e
    new=$(mktemp -p out .XXXXXX)
    cat >"$new"
    mv -n "$new" "out/batch-$MB_BATCH.$MB_TOKEN"
    rm -f "$new"
"""


def name(case):
    return "%s to %s" % (case.source, case.sink)


def records():
    """Records with every nuisance that a cut may meet: the newline in
    quotes, the empty field; bytes that add up as decimals."""
    for i in range(ROWS):
        path = '"/a\n,""b"""' if i % 5 == 2 else "/p%d" % i
        yield path, (200, 404, 200, 500, 304)[i % 5], "%d.%d" % (i * 7, i % 10)


def write_input(path, begin=0, end=None, mode="w"):
    with open(path, mode) as f:
        if mode == "w":
            f.write("path,status,bytes\n")
        for record in list(records())[begin:end]:
            f.write("%s,%d,%s\n" % record)


def make_directory(area):
    """The same input in two files."""
    logs = os.path.join(area.base, "logs")
    if not os.path.isdir(logs):
        os.mkdir(logs)
        write_input(logs + "/a.csv", 0, 8)
        write_input(logs + "/b.csv", 8)
    return logs


def make_rotated(case, area, argv):
    """Two batches of a file are committed; then it grows, and is rotated
    away.  Nothing is broken meanwhile."""
    logs = os.path.join(area.base, "logs")
    path = logs + "/app.csv"
    if os.path.exists(area.w + "/j.mbj"):
        return path
    shutil.rmtree(logs, ignore_errors=True)
    os.mkdir(logs)
    write_input(path, 0, 2 * PER_BATCH)
    stage = None
    for a in argv(path):
        stage = subprocess.Popen(a, stdin=stage and stage.stdout,
                                 stdout=subprocess.PIPE, cwd=area.base,
                                 env=environment())
    if stage.wait() != 0:
        raise RuntimeError("the run before the rotation failed")
    write_input(path, 2 * PER_BATCH, 3 * PER_BATCH, "a")
    os.rename(path, path + ".1")
    write_input(path, 3 * PER_BATCH)
    return path


def write_gz(path):
    """The same input, with so many blank lines (which are no records) between
    two members that its index has a place."""
    with open(path, "rb") as f:
        lines = f.read().splitlines(True)
    blank = random.Random(1).randbytes(4500000).translate(b"\n\r" * 128)
    with open(path + ".gz", "wb") as f:
        for part in (b"".join(lines[:9]), blank, b"".join(lines[9:])):
            f.write(gzip.compress(part, 1, mtime=0))


def expected():
    """What must be in the sink, computed without mb: per batch its groups in
    order of appearance, as (batch, status, count, tenths of bytes)."""
    out = []
    all_records = list(records())
    for batch in range(0, (ROWS + PER_BATCH - 1) // PER_BATCH):
        groups = {}
        for _, status, amount in all_records[batch * PER_BATCH:
                                             (batch + 1) * PER_BATCH]:
            group = groups.setdefault(status, [0, 0])
            group[0] += 1
            group[1] += int(amount.replace(".", ""))
        out += [(batch, s, g[0], g[1]) for s, g in groups.items()]
    return out


class Area:
    """A scratch place: input, and W, which is what accidents happen to."""

    def __init__(self):
        memory = "/dev/shm"
        where = os.environ.get("MB_TEST_DIR")
        if where is None and os.access(memory, os.W_OK):
            where = memory
        self.base = tempfile.mkdtemp(prefix="mb-fault.", dir=where)
        self.input = os.path.join(self.base, "in.csv")
        self.w = os.path.join(self.base, "w")
        self.report = os.path.join(self.base, "report")
        self.adopts = False     # --adopt the case's target
        write_input(self.input)
        with open(self.input, "rb") as f:
            self.bytes = f.read()

    def fresh(self):
        shutil.rmtree(self.w, ignore_errors=True)
        os.mkdir(self.w)

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def stages(case, area, retry_for="0"):
    if case.source == "rotated":
        def argv(path):
            return lines(case, area, retry_for, path)
        return argv(make_rotated(case, area, argv))
    return lines(case, area, retry_for, None)


def lines(case, area, retry_for, path):
    def program(name):
        return os.path.join(BIN, name)
    w = area.w
    collect = [program("mb-collect"), "-j", w + "/j.mbj", "-i", "1h",
               "--max-records", str(PER_BATCH)]
    target = "sqlite:" + w + "/out.db#t"
    if case.sink in ("dir", "delta"):
        target = "%s:%s/out" % (case.sink, w)
    if area.adopts:
        collect += ["--adopt", target]
    if case.source == "pipe":
        collect += ["-F", "csv", "--stdin", "again"]
    elif case.source == "gz":
        if not os.path.exists(area.input + ".gz"):
            write_gz(area.input)
        collect += [area.input + ".gz"]
    elif case.source == "directory":
        collect += [make_directory(area)]
    elif path is not None:
        collect += [path]
    else:
        collect += [area.input]
    if case in COMMANDS:
        return [collect + ["--max-retries", "0", "--", "/bin/sh", "-c",
                "mkdir -p %s/out; cd %s; " % (w, w) + (
                    REMEMBER if case.sink == "token" else
                    "cat >>out/lines")]]
    agg = [program("mb-agg"), "-k", "status", "-a", "count,sum:bytes"]
    commit = [program("mb-commit"), "--retry-for", retry_for]
    if case.sink == "merge":
        commit += ["--merge-on", "status",
                   "--merge", "count:sum,bytes_sum:sum"]
    else:
        agg += ["--stamp"]
    return [collect, agg, commit + [target]]


class Result:
    def __init__(self, status, stderr, hung):
        self.status, self.stderr, self.hung = status, stderr, hung

    @property
    def ok(self):
        return not self.hung and all(s == 0 for s in self.status)

    def __str__(self):
        text = "exit " + " | ".join(
            "signal %s" % signal.Signals(-s).name if s < 0 else str(s)
            for s in self.status)
        if self.hung:
            text += " (HUNG: killed after %d s)" % TIMEOUT
        for line in self.stderr:
            text += "\n        " + line
        return text


def environment(fault=None):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("MB_") and k != "LD_PRELOAD"}
    env["LD_PRELOAD"] = FAULT_SO
    env["MB_FAULT_TIME"] = str(CLOCK)
    # fault.so stands before the sanitizer's library on purpose.
    env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=1"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    env.update(fault or {"MB_FAULT_PROG": "-"})
    return env


class Running:
    """A line that was started."""

    def __init__(self, case, area, fault=None, retry_for="0"):
        env = environment(fault)
        self.err = tempfile.TemporaryFile()
        self.procs = []
        stdin = subprocess.DEVNULL
        if case.source == "pipe":
            # The input is shorter than a pipe: no feeder is needed.
            stdin, feed = os.pipe()
            os.write(feed, area.bytes)
            os.close(feed)
        lines = stages(case, area, retry_for)
        for i, argv in enumerate(lines):
            last = i == len(lines) - 1
            p = subprocess.Popen(argv, stdin=stdin, cwd=area.base, env=env,
                                 stdout=self.err if last else subprocess.PIPE,
                                 stderr=self.err)
            if i > 0:
                self.procs[-1].stdout.close()
            elif stdin != subprocess.DEVNULL:
                os.close(stdin)
            self.procs.append(p)
            stdin = p.stdout
        self.until = time.monotonic() + TIMEOUT

    def wait_for_a_death(self):
        while all(p.poll() is None for p in self.procs):
            time.sleep(0.0005)

    def wait(self):
        hung = False
        for p in self.procs:
            try:
                p.wait(max(0.01, self.until - time.monotonic()))
            except subprocess.TimeoutExpired:
                hung = True
                for q in self.procs:
                    q.kill()
                p.wait()
        self.err.seek(0)
        text = self.err.read().decode(errors="replace").splitlines()
        self.err.close()
        return Result([p.returncode for p in self.procs], text, hung)


def run(case, area, fault=None, retry_for="0"):
    """Start the case's line in area.w; wait for all its processes."""
    return Running(case, area, fault, retry_for).wait()


def fired(area):
    """What the fault library says that it broke; None if it didn't."""
    try:
        with open(area.report) as f:
            for line in f:
                if line.startswith("fired"):
                    return line.split(None, 3)[3].strip()
    except FileNotFoundError:
        pass
    return None


def count(area):
    """How many calls were counted, of a process that exited normally."""
    with open(area.report) as f:
        for line in f:
            if line.startswith("count"):
                return int(line.split()[3])
    return 0


# ---- what is in the sink ----

def what_is_the_same(table, row):
    """Of a row, what doesn't depend on the journal's id, runs and places."""
    if table == "mb_commits":
        return [(n, v) for n, v in row if not any(
            word in n for word in ("journal", "digest", "time", "id"))]
    if table != "mb_positions":
        return row
    row = dict(row)
    position = json.loads(row["position"])
    if isinstance(position, dict):
        position = [(n, position[n]) for n in (
            "generation", "format", "fields", "start", "end", "anchored",
            "head", "tail", "final")]
    return [row["table"], row["key"], position]


def dump(path):
    """A database's rows in order, without what differs from run to run."""
    if not os.path.exists(path):
        return {}
    # A look at a database in WAL mode may change its files: use a copy.
    with tempfile.TemporaryDirectory(dir=os.path.dirname(
            os.path.dirname(path))) as copy:
        for suffix in ("", "-wal", "-journal"):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, copy + "/db" + suffix)
        db = sqlite3.connect(copy + "/db")
        try:
            out = {"integrity": db.execute(
                "PRAGMA integrity_check").fetchall()}
            tables = [r[0] for r in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' "
                "AND name NOT LIKE 'sqlite_%' ORDER BY name")]
            for table in tables:
                rows = db.execute('SELECT * FROM "%s"' % table)
                names = [c[0] for c in rows.description]
                out[table] = sorted(repr(what_is_the_same(
                    table, list(zip(names, row)))) for row in rows)
            return out
        finally:
            db.close()


def wrong_checksum(path):
    """A .crc that is whole says what the log comes to, or is wrong."""
    n = 0
    for name in sorted(glob.glob(path + "/_delta_log/*[0-9].json")):
        with open(name) as f:
            for line in f:
                n += ('{"add":' in line[:7]) - ('{"remove":' in line[:10])
        try:
            with open(name[:-4] + "crc") as f:
                said = json.load(f)["numFiles"]
        except (FileNotFoundError, ValueError):
            continue    # torn by a power cut
        if said != n:
            return "%s: %d files, not %d" % (name, said, n)
    return None


def dump_delta(path):
    """The rows, and what the marker says but for the journal's own."""
    out = {"rows": [], "marker": []}
    wrong = wrong_checksum(path)
    if wrong:
        return {"damaged": wrong}
    for option in ([], ["--state"]):
        r = subprocess.run([DELTA_DUMP] + option + [path],
                           capture_output=True)
        if r.returncode != 0:
            return {"damaged": r.stderr.decode()}
        lines = r.stdout.decode().splitlines()
        if not option:
            out["rows"] = sorted(lines)
        elif lines:
            out["marker"] = [lines[0]] + sorted(
                x[35:] for x in lines[1:] if "#digest" not in x and
                "#path" not in x)
    return out if out["marker"] else {}


def sink_of_command(area):
    """What each batch has left, or all the lines, which may be there more than
    once.  A batch that is there under two tokens is one too many."""
    out = {}
    for path in sorted(glob.glob(area.w + "/out/*")):
        with open(path) as f:
            text = f.read()
        if path.endswith("/lines"):
            out["lines"] = sorted(set(text.splitlines()))
        else:
            batch = os.path.basename(path).split(".")[0]
            out[batch] = out.get(batch, "") + text
    return out


def sink(case, area):
    if case.sink == "delta":
        return dump_delta(area.w + "/out")
    if case in COMMANDS:
        return sink_of_command(area)
    if case.sink != "dir":
        return dump(area.w + "/out.db")
    out = {}
    try:
        names = sorted(os.listdir(area.w + "/out"))
    except FileNotFoundError:
        return out
    for n in names:
        if n.startswith("batch-") and not n.endswith(".tmp"):
            with open(os.path.join(area.w, "out", n), "rb") as f:
                out[n] = f.read()
    return out


def sink_is_right(case, area):
    """Compare the sink of the undisturbed run with expected()."""
    want = expected()
    if case in COMMANDS:
        got = sink(case, area)
        with open(area.input) as f:
            lines = f.read().splitlines()
        want = {"lines": sorted(set(lines))}
        if case.sink == "token":
            # A record of the input may have two lines.
            texts = ["%s,%d,%s\n" % r for r in records()]
            want = {"batch-%d" % (i // PER_BATCH): lines[0] + "\n" +
                    "".join(texts[i:i + PER_BATCH])
                    for i in range(0, ROWS, PER_BATCH)}
    elif case.sink == "dir":
        got = []
        for n, data in sorted(sink(case, area).items()):
            lines = data.decode().splitlines()
            if lines[0] != "batch,batch_time,status,count,bytes_sum":
                return "header of %s: %s" % (n, lines[0])
            for line in lines[1:]:
                batch, _, status, c, b = line.split(",")
                if n != "batch-%09d.csv" % int(batch):
                    return "batch %s in %s" % (batch, n)
                got.append((int(batch), int(status), int(c),
                            round(float(b) * 10)))
    elif case.sink == "delta":
        rows = map(json.loads, sink(case, area)["rows"])
        got = sorted((r["batch"], r["status"], r["count"],
                      round(r["bytes_sum"] * 10)) for r in rows)
        want = sorted(want)
    else:
        db = sqlite3.connect(area.w + "/out.db")
        if case.sink == "merge":
            total = {}
            for _, s, c, b in want:
                t = total.setdefault(s, [0, 0])
                t[0] += c
                t[1] += b
            want = sorted((0, s, t[0], t[1]) for s, t in total.items())
            columns = "0, status"
        else:
            want = sorted(want)
            columns = "batch, status"
        got = sorted((b, s, c, round(x * 10)) for b, s, c, x in db.execute(
            "SELECT %s, count, bytes_sum FROM t" % columns))
        db.close()
    if got != want:
        return "got %s, want %s" % (got, want)
    return None


# ---- what else must hold ----

def listing(area):
    """Every name below W; which spool files there are depends on where a
    run ended, so they count as one."""
    out = set()
    for root, dirs, files in os.walk(area.w):
        for n in dirs + files:
            n = os.path.relpath(os.path.join(root, n), area.w)
            if n.startswith("j.mbj.d/spool/"):
                n = "j.mbj.d/spool/*"
            # The token is another in each run.
            if n.startswith("out/batch-") and len(n) > 40:
                n = n.split(".")[0]
            # A version can do without; what they say is looked at.
            if n.startswith("out/_delta_log/") and n.endswith(".crc"):
                continue
            # Their names are random; which count, the log tells.
            if n.startswith("out/part-"):
                n = "out/part-*"
            if n.startswith("out/_mb/") and n.endswith(".places"):
                n = "out/_mb/*.places"
            out.add(n)
    return out


def is_kept_on_purpose(path):
    """The bytes of a torn tail that was cut stay beside the journal; the
    helpers of a database go when it is closed by a last writer."""
    return path.startswith(("j.mbj.d/cut", "out.db-"))


def journal_lines(area):
    with open(area.w + "/j.mbj", "rb") as f:
        return [json.loads(line) for line in f.read().splitlines() if line]


def journal_problem(area):
    """Each batch planned once, committed once; nothing lost."""
    plans, commits = {}, {}
    for line in journal_lines(area):
        verb = line["mb"]
        if verb == "plan":
            plans[line["batch"]] = plans.get(line["batch"], 0) + 1
        elif verb == "commit":
            commits[line["batch"]] = commits.get(line["batch"], 0) + 1
        elif verb == "lost":
            return "journal says lost: %s" % line
    n = (ROWS + PER_BATCH - 1) // PER_BATCH
    if sorted(plans) != list(range(n)) or set(plans.values()) != {1}:
        return "planned: %s" % plans
    if sorted(commits) != list(range(n)) or set(commits.values()) != {1}:
        return "committed: %s" % commits
    return None


class Reference:
    """The undisturbed run, checked against the independent computation."""

    def __init__(self, case, area):
        area.fresh()
        r = run(case, area)
        if not r.ok or r.stderr:
            raise RuntimeError("%s: the undisturbed run: %s" % (name(case), r))
        problem = sink_is_right(case, area) or journal_problem(area)
        if problem:
            raise RuntimeError("%s: the undisturbed run is wrong: %s" %
                               (name(case), problem))
        self.sink = sink(case, area)
        # Once more, with nothing to do: now everything is settled.
        r = run(case, area)
        if not r.ok or r.stderr or sink(case, area) != self.sink:
            raise RuntimeError("%s: a run with nothing to do: %s" %
                               (name(case), r))
        self.names = listing(area)


def difference(got, want):
    out = []
    for key in sorted(set(got) | set(want)):
        if got.get(key) != want.get(key):
            out.append("%s: got %s, want %s" % (
                key, got.get(key, "nothing"), want.get(key, "nothing")))
    return "; ".join(out)


def listing_problem(area, ref):
    names = listing(area)
    extra = {n for n in names - ref.names if not is_kept_on_purpose(n)}
    if extra:
        return "left behind: " + " ".join(sorted(extra))
    if ref.names - names:
        return "missing: " + " ".join(sorted(ref.names - names))
    return None


def check(case, area, ref):
    """None, or what is wrong in W after everything was made good."""
    got = sink(case, area)
    if got != ref.sink:
        return "the sink differs: " + difference(got, ref.sink)
    problem = listing_problem(area, ref)
    if problem:
        # What one more run tidies up is not left behind for good.
        r = run(case, area)
        problem = listing_problem(area, ref) if r.ok else \
            "a run with nothing to do: %s" % r
        if problem is None and sink(case, area) != ref.sink:
            problem = "a run with nothing to do changed the sink"
    if problem:
        return problem
    return journal_problem(area)


def half_done_problem(case, area, ref):
    """Right after the accident: a batch is there whole or not at all."""
    got = sink(case, area)
    if case.sink in ("dir", "token"):
        for n, data in got.items():
            if ref.sink.get(n) != data:
                return "%s is neither whole nor absent" % n
    elif case.sink == "delta":
        batches = {}
        for row in got.get("rows", []):
            batches.setdefault(json.loads(row)["batch"], []).append(row)
        for batch, rows in batches.items():
            if rows != [r for r in ref.sink["rows"]
                        if json.loads(r)["batch"] == batch]:
                return "batch %s is neither whole nor absent" % batch
        return got.get("damaged")
    elif case.sink == "again":
        if set(got.get("lines", [])) - set(ref.sink["lines"]):
            return "half a line: %s" % got
    elif got and got["integrity"] != [("ok",)]:
        return "integrity check: %s" % got["integrity"]
    elif case.sink == "append":
        # The table is created with its first rows.
        batches = {}
        for row in got.get("t", []):
            batches.setdefault(eval(row)[0][1], []).append(row)
        for batch, rows in batches.items():
            if rows != [r for r in ref.sink["t"] if eval(r)[0][1] == batch]:
                return "batch %s is neither whole nor absent" % batch
    return None


def fingerprint(tree):
    return hashlib.sha256(repr(tree).encode()).hexdigest()
