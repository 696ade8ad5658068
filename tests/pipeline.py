# pipeline.py - run mb's pipelines, undisturbed or not, and look at the sink.
#
# Shared by fault-loop and power.  A Case is one combination of source and
# sink, or of a verb (verbs.py) and a sink; Area.fresh() makes a directory W in
# which it can begin; run() starts its line there and waits; recover() starts
# it again and lets the pipeline go on; check() says what is wrong in W
# afterwards, compared with the undisturbed run.

import atexit
import glob
import gzip
import hashlib
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import namedtuple
from types import SimpleNamespace

from verbs import BAD_RECORD, VERBS

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("MB_BIN", os.path.join(TOP, "build", "bin"))
FAULT_SO = os.path.join(TOP, "build", "tests", "fault.so")
DELTA_DUMP = os.path.join(TOP, "build", "tests", "delta_dump")


def freeze_tools():
    """Work on a copy of the tools, so that a build meanwhile is harmless."""
    global BIN, FAULT_SO, DELTA_DUMP
    copy = tempfile.mkdtemp(prefix="mb-tools.")
    atexit.register(remove_if_mine, copy, os.getpid())
    for program in TOOLS:
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
TIMEOUT = 60
PER_BATCH = 3
ROWS = 14

# The source is also the name of what is done: "pipe", "gz", "requeue".
Case = namedtuple("Case", "source sink")
CASES = [Case(source, sink) for source in ("file", "pipe")
         for sink in ("dir", "append", "merge", "delta")] + [
             Case("file", "parts")]
PROGRAMS = ("mb-collect", "mb-agg", "mb-commit")
TOOLS = PROGRAMS + ("mb-replay",)
COMPRESSED = [Case("gz", "dir")]
# Two files, and a file that was rotated when it was half read.
FILES = [Case(source, "dir") for source in ("directory", "rotated")]
# A command per batch: one that remembers the token, one that doesn't.
COMMANDS = [Case("file", "token"), Case("file", "again")]
BY_HAND = [Case(verb, sink) for verb in VERBS for sink in VERBS[verb].sinks]
OTHERS = COMPRESSED + FILES + COMMANDS + BY_HAND
# A command has to sync by itself what it did.
REMEMBER = """
    set -e
    new=out/.new-$$
    dd of="$new" conv=fsync,excl status=none
    mv -n "$new" "out/batch-$MB_BATCH.$MB_TOKEN"
    sync out
    rm -f "$new"
"""
JUST_APPEND = """
    set -e
    { echo; cat; } >>out/lines
    sync out/lines out
"""


def name(case):
    return "%s to %s" % (case.source, case.sink)


def records():
    """Records with every nuisance that a cut may meet: the newline in
    quotes, the empty field; bytes that add up as decimals."""
    for i in range(ROWS):
        path = '"/a\n,""b"""' if i % 5 == 2 else "/p%d" % i
        yield path, (200, 404, 200, 500, 304)[i % 5], "%d.%d" % (i * 7, i % 10)


def write_input(path, begin=0, end=None, mode="w", bad=None):
    with open(path, mode) as f:
        if mode == "w":
            f.write("path,status,bytes\n")
        for i, record in list(enumerate(records()))[begin:end]:
            f.write("%s,%d,%s\n" % (record if i != bad else
                                    record[:2] + ("x",)))


def make_directory(area):
    """The same input in two files."""
    logs = os.path.join(area.base, "logs")
    if not os.path.isdir(logs):
        os.mkdir(logs)
        write_input(logs + "/a.csv", 0, 8)
        write_input(logs + "/b.csv", 8)
    return logs


def write_gz(path):
    """The same input, with so many blank lines (which are no records) between
    two members that its index has a place."""
    with open(path, "rb") as f:
        lines = f.read().splitlines(True)
    blank = random.Random(1).randbytes(4500000).translate(b"\n\r" * 128)
    with open(path + ".gz", "wb") as f:
        for part in (b"".join(lines[:9]), blank, b"".join(lines[9:])):
            f.write(gzip.compress(part, 1, mtime=0))


def expected(case):
    """What must be in the sink, computed without mb: per batch its groups in
    order of appearance, as (batch, status, count, tenths of bytes)."""
    verb = VERBS.get(case.source)
    out = []
    all_records = list(enumerate(records()))
    for batch in range(0, (ROWS + PER_BATCH - 1) // PER_BATCH):
        groups = {}
        for i, (_, status, amount) in all_records[batch * PER_BATCH:
                                                  (batch + 1) * PER_BATCH]:
            if verb and verb.is_bad and i == BAD_RECORD:
                continue
            group = groups.setdefault(status, [0, 0])
            group[0] += 1
            group[1] += int(amount.replace(".", ""))
        number = verb.renumbered.get(batch, batch) if verb else batch
        out += [(number, s, g[0], g[1]) for s, g in groups.items()]
    return sorted(out, key=lambda row: row[0])


def remove_tree(path):
    """Somebody may still be about to make a file there."""
    for _ in range(200):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.exists(path):
            return
        time.sleep(0.02)


SCRATCH = None


def make_scratch():
    """A place for all areas, also of processes that are ended; it goes with
    this one."""
    global SCRATCH
    memory = "/dev/shm"
    where = os.environ.get("MB_TEST_DIR")
    if where is None and os.access(memory, os.W_OK):
        where = memory
    SCRATCH = tempfile.mkdtemp(prefix="mb-fault.", dir=where)
    atexit.register(remove_if_mine, SCRATCH, os.getpid())


class Area:
    """A scratch place: input, and W, which is what accidents happen to."""

    def __init__(self):
        if SCRATCH is None:
            make_scratch()
        self.base = tempfile.mkdtemp(dir=SCRATCH)
        self.input = os.path.join(self.base, "in.csv")
        self.w = os.path.join(self.base, "w")
        self.report = os.path.join(self.base, "report")
        self.adopts = False     # --adopt the case's target
        write_input(self.input)
        write_input(self.input + ".bad", bad=BAD_RECORD)
        with open(self.input, "rb") as f:
            self.bytes = f.read()

    def fresh(self, case):
        """W as it is before the case's line; what came before happens once."""
        remove_tree(self.w)
        before = os.path.join(self.base, "before-%s-%s" % case)
        if os.path.isdir(before):
            shutil.copytree(before, self.w, symlinks=True)
            return
        os.mkdir(self.w)
        if prepare(case, self):
            shutil.copytree(self.w, before, symlinks=True)

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Lines:
    """The command lines of a case.  Names are those of the options."""

    def __init__(self, case, area, retry_for="0"):
        self.case, self.area, self.retry_for = case, area, retry_for
        self.is_ordered = case.sink == "merge"
        kind = {"parts": "dir", "dir": "dir", "delta": "delta"}.get(case.sink)
        self.target = "%s:%s/out" % (kind, area.w) if kind else \
            "sqlite:%s/out.db#t" % area.w

    def tool(self, name):
        return os.path.join(BIN, name)

    def collect(self, *options):
        case, area = self.case, self.area
        # A former one leaves when it notices that its reader has gone: soon,
        # but not within any time on any machine.
        out = [self.tool("mb-collect"), "-j", area.w + "/j.mbj", "-i", "1h",
               "--wait", "10s", "--max-records", str(PER_BATCH)] + list(
                   options)
        if area.adopts:
            out += ["--adopt", self.target]
        if case.source == "pipe":
            return out + ["-F", "csv", "--stdin", "again"]
        if case.source in VERBS:
            if VERBS[case.source].is_bad:
                return out + ["-F", "csv", area.input + ".bad"]
            return out + [area.input]
        if case.source == "gz":
            if not os.path.exists(area.input + ".gz"):
                write_gz(area.input)
            return out + [area.input + ".gz"]
        if case.source == "directory":
            return out + [make_directory(area)]
        if case.source == "rotated":
            return out + [area.base + "/rotated/app.csv"]
        return out + [area.input]

    def agg(self, bad="reject", *options):
        out = [self.tool("mb-agg"), "-k", "status", "-a", "count,sum:bytes",
               "--on-bad", bad] + list(options)
        return out + ([] if self.case.sink == "merge" else ["--stamp"])

    def commit(self, *options):
        out = [self.tool("mb-commit"), "--retry-for", self.retry_for]
        if self.case.sink == "merge":
            out += ["--merge-on", "status",
                    "--merge", "count:sum,bytes_sum:sum"]
        if self.case.sink == "parts":
            out += ["--partition-by", "status"]
        return out + list(options) + [self.target]

    def replay(self, *options):
        return [self.tool("mb-replay"), "-j", self.area.w + "/j.mbj"] + list(
            options)

    def whole(self, bad="reject", *options):
        return [self.collect(*options), self.agg(bad), self.commit()]

    def command(self):
        w = self.area.w
        return [self.collect("--max-retries", "0") + [
            "--", "/bin/sh", "-c", "cd %s; mkdir -p out; sync .; " % w + (
                REMEMBER if self.case.sink == "token" else JUST_APPEND)]]

    def lose_journal(self):
        for path in glob.glob(self.area.w + "/j.mbj"):
            os.unlink(path)
        shutil.rmtree(self.area.w + "/j.mbj.d", ignore_errors=True)

    def damage_journal(self):
        """The first `commit` can't be read any more; later lines vouch."""
        with open(self.area.w + "/j.mbj", "r+b") as f:
            f.seek(f.read().index(b'{"mb":"commit"') + 20)
            f.write(b"?" * 30)

    def lose_sink(self):
        shutil.rmtree(self.area.w + "/out", ignore_errors=True)
        for path in glob.glob(self.area.w + "/out.db*"):
            os.unlink(path)


NOWHERE = SimpleNamespace(w="", base="", input="", adopts=False)


def stages(case, area, retry_for="0"):
    x = Lines(case, area, retry_for)
    if case.source in VERBS:
        return VERBS[case.source].line(x)
    return x.command() if case in COMMANDS else x.whole()


def programs(case):
    """Those that can be disturbed."""
    if case.source in VERBS:
        return tuple(os.path.basename(argv[0])
                     for argv in stages(case, NOWHERE))
    if case.sink == "token":
        return ("mb-collect", "dd", "mv")
    if case.sink == "again":
        return ("mb-collect", "cat")
    return PROGRAMS


def prepare(case, area):
    """What happens before the case's line, if there is anything.  Nothing is
    broken meanwhile."""
    x = Lines(case, area)
    if case.source in VERBS:
        before = VERBS[case.source].before(x)
        for line in before:
            if callable(line):
                line()
                continue
            r = run_line(line, area)
            if r.hung or set(r.status) - {0, 65, 75, -13}:
                raise RuntimeError("%s: before: %s" % (name(case), r))
        return len(before) > 0
    if case.source != "rotated":
        return False
    # Two batches of a file are committed; then it grows, and is rotated away.
    logs = os.path.join(area.base, "rotated")
    path = logs + "/app.csv"
    shutil.rmtree(logs, ignore_errors=True)
    os.mkdir(logs)
    write_input(path, 0, 2 * PER_BATCH)
    r = run_line(x.whole(), area)
    if not r.ok:
        raise RuntimeError("the run before the rotation: %s" % r)
    write_input(path, 2 * PER_BATCH, 3 * PER_BATCH, "a")
    os.rename(path, path + ".1")
    write_input(path, 3 * PER_BATCH)
    return True


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
    if "MB_FAULT_JITTER" in os.environ:
        env["MB_FAULT_JITTER"] = os.environ["MB_FAULT_JITTER"]
    # fault.so stands before the sanitizer's library on purpose.
    env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=1"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    env.update(fault or {"MB_FAULT_PROG": "-"})
    return env


class Running:
    """A line that was started."""

    def __init__(self, line, area, fault=None, has_input=False):
        env = environment(fault)
        self.err = tempfile.TemporaryFile()
        # Open as long as any of them, or of their children, lives.
        self.life, life = os.pipe()
        self.procs = []
        stdin = subprocess.DEVNULL
        if has_input:
            # The input is shorter than a pipe: no feeder is needed.
            stdin, feed = os.pipe()
            os.write(feed, area.bytes)
            os.close(feed)
        for i, argv in enumerate(line):
            last = i == len(line) - 1
            p = subprocess.Popen(argv, stdin=stdin, cwd=area.base, env=env,
                                 stdout=self.err if last else subprocess.PIPE,
                                 stderr=self.err, pass_fds=(life,))
            if i > 0:
                self.procs[-1].stdout.close()
            elif stdin != subprocess.DEVNULL:
                os.close(stdin)
            self.procs.append(p)
            stdin = p.stdout
        os.close(life)
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
        # A command may outlive its mb-collect.
        select.select([self.life], [], [], TIMEOUT)
        os.close(self.life)
        self.err.seek(0)
        text = self.err.read().decode(errors="replace").splitlines()
        self.err.close()
        return Result([p.returncode for p in self.procs], text, hung)


def run_line(line, area):
    return Running(line, area).wait()


def start(case, area, fault=None, retry_for="0"):
    """Start the case's line in area.w."""
    return Running(stages(case, area, retry_for), area, fault,
                   case.source == "pipe")


def run(case, area, fault=None, retry_for="0"):
    """The same, and wait for all its processes."""
    return start(case, area, fault, retry_for).wait()


def go_on(case, area):
    """What comes after the case's line; None or what is wrong."""
    after = VERBS[case.source].after(Lines(case, area)) \
        if case.source in VERBS else []
    for i, line in enumerate(after):
        r = run_line(line, area)
        is_last = i == len(after) - 1
        if r.hung or (is_last and not r.ok) or \
                set(r.status) - {0, 65, 75, -13}:
            return "going on (%d): %s" % (i, r)
    return None


def is_said(case):
    return case.source in VERBS and VERBS[case.source].is_said


def all_done(case):
    return VERBS[case.source].all_done if case.source in VERBS else ()


def was_all_done(case, area, ref, r):
    """Did the run only find that nothing was left for it to do?"""
    return not r.hung and r.status[-1] in all_done(case) and \
        sink(case, area) == ref.done


def recover(case, area, ref):
    """Start the line again, and go on; None or what is wrong."""
    r = run(case, area)
    if not ref.is_fine(r) and not was_all_done(case, area, ref, r):
        return "starting again: %s" % r
    return go_on(case, area) or check(case, area, ref)


def can_be_adopted(case):
    """Is all that a lost journal knew beside the marker?  What was piped is
    gone with its spool."""
    return case.source == "file" and case not in COMMANDS


def adopt(case, area, ref):
    """The journal is lost, and the line is started again; None or what is
    wrong."""
    Lines(case, area).lose_journal()
    before = sink(case, area)
    is_empty = not (before.get("t") if case.sink == "merge" else
                    by_batch(case, before))
    area.adopts = True
    r = run(case, area)
    area.adopts = False
    # Where nothing was committed there is nothing to adopt, and we are told
    # what to do.
    if is_empty and r.status[0] == 64:
        if any("remove its .mb-manifest" in line for line in r.stderr):
            os.unlink(area.w + "/out/.mb-manifest")
        r = run(case, area)
    if not r.ok:
        return "adopting: %s" % r
    got = sink(case, area)
    return None if got == ref.sink else "after --adopt the sink differs: " + \
        difference(got, ref.sink)


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
    else:
        # What had been settled when it was planned is a matter of time, and
        # so is whether anything had.
        position = [sorted((n, v) for n, v in b.items() if n not in (
            "digest", "run", "settled")) for b in position]
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


def dump_delta(path, is_redone):
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
            out["marker"] = ["" if is_redone else lines[0]] + sorted(
                x[35:] for x in lines[1:] if "#digest" not in x and
                "#path" not in x)
    return out if out["marker"] else {}


def sink_of_command(area):
    """What each batch has left, or all the lines of the input that are there,
    which may be more than once, and halves of lines among them.  A batch that
    is there under two tokens is one too many."""
    out = {}
    for path in sorted(glob.glob(area.w + "/out/*")):
        with open(path, errors="replace") as f:
            text = f.read()
        if path.endswith("/lines"):
            with open(area.input) as f:
                out["lines"] = sorted(set(text.splitlines()) &
                                      set(f.read().splitlines()))
        else:
            batch = os.path.basename(path).split(".")[0]
            out[batch] = out.get(batch, "") + text
    return out


def files_of_parts(area):
    """Of batches that are directories, what their files hold."""
    out = {}
    for path in sorted(glob.glob(area.w + "/out/batch=*/**", recursive=True)):
        if os.path.isfile(path):
            with open(path, "rb") as f:
                out[os.path.relpath(path, area.w + "/out")] = f.read()
    return out


def sink(case, area):
    if case.sink == "parts":
        return files_of_parts(area)
    if case.sink == "delta":
        return dump_delta(area.w + "/out", is_redone(case))
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
    want = expected(case)
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
    elif case.sink == "parts":
        got = []
        for n, data in sorted(sink(case, area).items()):
            batch, status, part = n.split("/")
            head, line = data.decode().splitlines()
            _, _, c, b = line.split(",")
            if head != "batch,batch_time,count,bytes_sum" or part != \
                    "part.csv" or int(line.split(",")[0]) != int(batch[6:]):
                return "%s: %s" % (n, data)
            got.append((int(batch[6:]), int(status[7:]), int(c),
                        round(float(b) * 10)))
        want = sorted(want)
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

def is_redone(case):
    """In a Delta table what is written again makes a version each time."""
    return case.sink == "delta" and case.source in ("redo", "restore")


def listing(case, area):
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
            if is_redone(case) and n.startswith("out/_delta_log/"):
                n = "out/_delta_log/*"
            out.add(n)
    return out


def is_kept_on_purpose(path):
    """The bytes of a torn tail that was cut stay beside the journal; the
    helpers of a database go when it is closed by a last writer.  What a
    command doesn't tidy up isn't ours."""
    return path.startswith(("j.mbj.d/cut", "out.db-", "out/.new-"))


def journal_lines(area):
    with open(area.w + "/j.mbj", "rb") as f:
        return [json.loads(line) for line in f.read().splitlines() if line]


def table(area):
    """Of each batch that the journal knows, what must not depend on
    accidents."""
    r = subprocess.run([os.path.join(BIN, "mb-replay"), "-j",
                        area.w + "/j.mbj", "--json"],
                       env=environment(), capture_output=True)
    if r.returncode != 0:
        return [r.stderr.decode()]
    return [{n: b.get(n) for n in ("batch", "state", "records", "lost",
                                   "requeued_as", "requeued_from")}
            for b in map(json.loads, r.stdout.splitlines())]


def table_problem(case, got, want):
    """How much of what is settled was dropped depends on what was known to be
    synced."""
    if case.source == "prune":
        got, want = ([b for b in x if b["state"] != "committed"]
                     for x in (got, want))
    return None if got == want else "the journal has %s, not %s" % (got, want)


def journal_problem(case, area, ref=None):
    """Each batch planned once, committed once; nothing lost."""
    if case.source in VERBS:
        got = table(area)
        problem = table_problem(case, got, ref.table) if ref else None
        if problem:
            return problem
        if any(b["state"] not in ("committed", "void") for b in got):
            return "not all are settled: %s" % got
        return None
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


def run_idle(case, area):
    """When everything is settled."""
    if case.source in VERBS:
        return run_line(VERBS[case.source].after(Lines(case, area))[-1], area)
    return run(case, area)


class Reference:
    """The undisturbed run, checked against the independent computation."""

    def __init__(self, case, area):
        area.fresh(case)
        before = sink(case, area)
        r = run(case, area)
        self.status, self.said = r.status, sorted(r.stderr)
        if not r.ok and case.source != "parking":
            raise RuntimeError("%s: the undisturbed run: %s" % (name(case), r))
        # After the line, and in the end.
        self.done = sink(case, area)
        self.done_table = table(area) if case.source in VERBS else None
        problem = go_on(case, area) or sink_is_right(case, area) or \
            journal_problem(case, area)
        if problem:
            raise RuntimeError("%s: the undisturbed run is wrong: %s" %
                               (name(case), problem))
        self.sink = sink(case, area)
        self.sinks = [before, self.done, self.sink]
        self.table = table(area) if case.source in VERBS else None
        # Once more, with nothing to do: now everything is settled.
        r = run_idle(case, area)
        if not r.ok or r.stderr or sink(case, area) != self.sink:
            raise RuntimeError("%s: a run with nothing to do: %s" %
                               (name(case), r))
        self.names = listing(case, area)

    def is_undisturbed(self, r):
        return self.is_fine(r) and sorted(r.stderr) == self.said

    def is_fine(self, r):
        return r.ok or (not r.hung and r.status == self.status)

    def done_problem(self, case, area):
        """Where the line has said 0."""
        got = sink(case, area)
        if got != self.done:
            return "status 0, but the sink differs: " + difference(
                got, self.done)
        problem = table_problem(case, table(area), self.done_table) \
            if case.source in VERBS else None
        return problem and "status 0, but " + problem


def difference(got, want):
    out = []
    for key in sorted(set(got) | set(want)):
        if got.get(key) != want.get(key):
            out.append("%s: got %s, want %s" % (
                key, got.get(key, "nothing"), want.get(key, "nothing")))
    return "; ".join(out)


def listing_problem(case, area, ref):
    names = listing(case, area)
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
    problem = listing_problem(case, area, ref)
    if problem:
        # What one more run tidies up is not left behind for good.
        r = run_idle(case, area)
        problem = listing_problem(case, area, ref) if r.ok else \
            "a run with nothing to do: %s" % r
        if problem is None and sink(case, area) != ref.sink:
            problem = "a run with nothing to do changed the sink"
    return problem or journal_problem(case, area, ref)


def half_done_problem(case, area, ref):
    """Right after the accident: a batch is there whole or not at all."""
    got = sink(case, area)
    if case.sink == "delta" and "damaged" in got:
        return got["damaged"]
    if case.sink in ("append", "merge") and got and \
            got["integrity"] != [("ok",)]:
        return "integrity check: %s" % got["integrity"]
    if case.sink not in ("again", "merge"):
        whole = [by_batch(case, x) for x in ref.sinks]
        for batch, rows in by_batch(case, got).items():
            if rows not in [x.get(batch) for x in whole]:
                return "batch %s is neither whole nor absent" % batch
    return None


def by_batch(case, content):
    """Of a sink: what each batch has there."""
    if case.sink in ("dir", "token"):
        return content
    if case.sink == "parts":
        out = {}
        for path, data in content.items():
            out.setdefault(path.split("/")[0], {})[path] = data
        return out
    rows = map(json.loads, content.get("rows", [])) if case.sink == "delta" \
        else (dict(eval(row)) for row in content.get("t", []))
    out = {}
    for row in rows:
        out.setdefault(row["batch"], []).append(row)
    return out


def fingerprint(tree):
    return hashlib.sha256(repr(tree).encode()).hexdigest()
