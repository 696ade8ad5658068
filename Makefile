# mb: exactly-once micro-batches for Unix pipes.
#
#   make                 build/bin/mb-*
#   make SQLITE=no       without sqlite: (mb-commit says so when asked for it)
#   make ZSTD=no         without zstd: Parquet is compressed by gzip
#   make SAN=1           the same under address and undefined-behaviour
#                        sanitizers, in build/san
#   make tests           the unit tests and the fault library
#   make install         PREFIX=/usr/local, DESTDIR=
#
# This file is also the map: every program lists its rooms, every room its
# files, from left to right as they may include one another.

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man

CC = cc
CFLAGS = -O2 -g
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wvla
MB_CFLAGS = -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Ilib $(WARN) $(CFLAGS)

SQLITE = yes
ZSTD = yes
SAN =
ifneq ($(SAN),)
BUILD = build/san
MB_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
MB_LDFLAGS = -fsanitize=address,undefined
else
BUILD = build
endif

# Rooms, in the order in which they may include each other.
BASE = base/err.o base/mem.o base/opt.o base/hash.o base/parse.o base/line.o \
	base/io.o base/clock.o base/signals.o base/number.o base/exact.o \
	base/count.o base/isa.o base/calendar.o
DURABLE = durable/lock.o durable/sync.o durable/stage.o durable/tree.o
JOURNAL = journal/state.o journal/fold.o journal/lines.o journal/scan.o \
	journal/journal.o journal/retain.o journal/place.o journal/repair.o \
	journal/mend.o journal/leftovers.o journal/outcome.o journal/rejects.o
RECORD = record/format.o record/gunzip.o record/split.o record/marks.o \
	record/csv.o record/json.o record/skeleton.o record/shape.o record/names.o \
	record/field.o record/rows.o record/reader.o record/reader_rows.o \
	record/writer.o
FRAME = frame/read.o frame/write.o
SOURCE = source/spool.o source/identity.o source/look.o source/gzindex.o \
	source/gz.o source/content.o source/pin.o source/listing.o \
	source/locate.o source/known.o source/watch.o source/keep.o \
	source/outlet.o source/emit.o source/start.o source/input.o \
	source/cut.o source/stream.o source/successor.o source/chain.o \
	source/follow.o source/pipe.o source/command.o source/job.o
AGG = agg/expr.o agg/column.o agg/decide.o agg/accum.o agg/totals.o agg/query.o \
	agg/cells.o agg/memo.o agg/ordinals.o agg/keys.o agg/keys_rows.o \
	agg/keys_unite.o agg/distinct.o agg/group.o agg/group_unite.o \
	agg/group_order.o agg/group_rows.o agg/group_csv.o \
	agg/crew.o agg/reading.o agg/work.o \
	agg/blocks.o agg/bytes.o agg/reject.o
# What --where and --delete-when have in common.
EXPR = agg/expr.o agg/column.o agg/decide.o
PARQUET = parquet/bits.o parquet/thrift.o parquet/format.o parquet/zstd.o \
	parquet/snappy.o parquet/lz4.o parquet/codec.o parquet/dictionary.o \
	parquet/bounds.o parquet/chunk.o parquet/footer.o parquet/writer.o \
	parquet/metadata.o parquet/pages.o parquet/values.o parquet/cursor.o \
	parquet/reader.o
DELTA = delta/fields.o delta/meta.o delta/schema.o delta/gate.o delta/log.o \
	delta/checkpoint.o delta/state.o delta/stats.o delta/commit.o \
	delta/crc.o delta/files.o delta/parsed.o delta/rows.o delta/save.o
SINK = sink/marker.o sink/positions.o sink/session.o sink/options.o \
	sink/target.o sink/parts.o sink/convert.o sink/rows.o sink/dir.o \
	sink/cells.o sink/columns.o sink/intake.o sink/deletes.o sink/sqltext.o \
	sink/sqlvalue.o $(SQL) \
	sink/held.o sink/deltamark.o sink/deltaplace.o sink/datafile.o \
	sink/deltafiles.o sink/deltasmall.o sink/deltajoin.o sink/deltatidy.o \
	sink/deltavacuum.o sink/hive.o sink/apart.o sink/deltaredo.o \
	sink/deltahome.o sink/deltashape.o sink/deltaguess.o sink/deltacare.o \
	sink/delta.o sink/stdout.o

PROGRAMS = mb-collect mb-agg mb-commit mb-replay
mb-collect_ROOMS = $(BASE) $(DURABLE) $(JOURNAL) $(RECORD) $(FRAME) $(SOURCE) \
	$(EXPR) $(PARQUET) $(DELTA) $(SINK)
mb-collect_PARTS = collect_options.o collect_start.o
mb-agg_ROOMS = $(BASE) $(DURABLE) $(JOURNAL) $(RECORD) $(FRAME) $(AGG)
mb-agg_PARTS = agg_output.o agg_plain.o agg_frames.o
mb-commit_ROOMS = $(BASE) $(DURABLE) $(JOURNAL) $(RECORD) $(FRAME) $(EXPR) \
	$(PARQUET) $(DELTA) $(SINK)
mb-commit_PARTS = commit_options.o
mb-replay_ROOMS = $(BASE) $(DURABLE) $(JOURNAL) $(RECORD) $(FRAME) $(SOURCE)
mb-replay_PARTS = replay_options.o replay_table.o replay_verbs.o

LIBS = -ljansson -lcsv -lxxhash -lz -lm -lpthread
ifeq ($(SQLITE),yes)
SQLITE_LIBS = -lsqlite3
SQL = sink/sqldb.o sink/sqlmark.o sink/sqltable.o sink/sqlstage.o sink/sqlite.o
else
MB_CFLAGS += -DMB_NO_SQLITE
SQL = sink/nosqlite.o
endif
ifeq ($(ZSTD),yes)
ZSTD_LIBS = -lzstd
else
MB_CFLAGS += -DMB_NO_ZSTD
endif
mb-commit_LIBS = $(SQLITE_LIBS) $(ZSTD_LIBS)
mb-collect_LIBS = $(mb-commit_LIBS)

all: $(PROGRAMS:%=$(BUILD)/bin/%)

include scripts/rules.mk
