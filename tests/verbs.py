# verbs.py - what a person does by hand with batches, as cases to disturb.
#
# Each is what went before, the line that somebody types, and how the pipeline
# goes on.  The line may be typed again after any accident; in the end
# the sink must hold what it holds when nothing was disturbed.  Lines are made
# by pipeline.Lines; a function among them is called, and does harm.

from collections import namedtuple

# is_bad: of the input with a bad record; renumbered: batches; all_done: what
# the line may also end with when it was all done before; is_said: once it has
# said 0 it is kept, also by a power cut.
Verb = namedtuple("Verb", "before line after is_bad renumbered all_done "
                  "is_said sinks", defaults=(
                      True, {}, (), True, ("dir", "append", "merge", "delta")))

# Of the input with a bad record in it: its place, and its batch.
BAD_RECORD = 4
BAD = "1"


def fails(x):
    """Batch 0 is committed, batch 1 fails, and no more are planned."""
    return [x.whole("fail", "--once"), x.whole("fail", "--once")]


def parked(x):
    """Batch 1 is parked, and later ones are committed, where they may."""
    return fails(x) + [[x.replay("--park", BAD)]] + (
        [] if x.is_ordered else [x.whole("fail")])


def journal_lost(x):
    """There is more to read, too."""
    return fails(x) + [[x.replay("--park", BAD)]] + (
        [] if x.is_ordered else [x.whole("fail", "--once")]) + [x.lose_journal]


def failed(x):
    return [x.replay("--failed"), x.agg("skip"), x.commit()]


def redo(x):
    return [x.replay("0-4"), x.agg("skip"), x.commit("--redo")]


def goes_on(x):
    return [x.whole("skip")]


def damaged(x):
    """Three batches are committed, and there are more to come."""
    return [x.whole("skip", "--once") for _ in range(3)] + [x.damage_journal]


VERBS = {
    "park": Verb(
        fails, lambda x: [x.replay("--park", BAD)],
        lambda x: [x.whole("fail"), failed(x), x.whole("fail")]),
    # By mb-commit itself: after a power cut it may have to be found again.
    "parking": Verb(
        lambda x: [],
        lambda x: [x.collect(), x.agg("fail"), x.commit("--park-after", "1")],
        lambda x: [failed(x), x.whole("fail")],
        is_said=False, sinks=("dir", "append", "delta")),
    "unpark": Verb(
        parked, lambda x: [x.replay("--unpark", BAD)], goes_on),
    "requeue": Verb(
        parked, lambda x: [x.replay("--requeue", BAD)], goes_on,
        renumbered={1: 5}),
    "failed": Verb(parked, failed, goes_on),
    "prune": Verb(
        parked, lambda x: [x.replay("--prune")],
        lambda x: [failed(x), x.whole("skip")]),
    # The sink was removed, and is put back.
    "restore": Verb(
        lambda x: [x.whole("skip"), x.lose_sink], redo, goes_on,
        is_bad=False, all_done=(64,)),
    # Another question was asked at first.
    "redo": Verb(
        lambda x: [[x.collect(), x.agg("skip", "--where", "status != 404"),
                    x.commit()]],
        redo, goes_on, is_bad=False, sinks=("dir", "parts", "append", "delta")),
    "repair": Verb(
        damaged, lambda x: [x.replay("--repair", "--yes")], goes_on,
        is_bad=False),
    "adopt": Verb(
        # The sink knows of a parked batch by the later ones.
        journal_lost,
        lambda x: x.whole("skip" if x.is_ordered else "fail",
                          "--adopt", x.target),
        lambda x: [failed(x), x.whole("skip")]),
}
