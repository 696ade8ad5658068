# How things are made; what is made of what stands in the Makefile.

MAN1 = $(PROGRAMS:%=man/%.1)
MAN5 = man/mb-delta.5 man/mb-frame.5 man/mb-journal.5
MAN7 = man/mb.7

# One line that names the package beats a page of compiler errors.
$(BUILD)/libraries: Makefile scripts/rules.mk
	@mkdir -p $(BUILD)
	@try() { printf '#include <stdio.h>\n#include <%s>\nint main(void){return 0;}\n' "$$1" | \
		$(CC) $(CFLAGS) -x c - -o $@.try -l$$2 2>/dev/null || { \
		echo "mb: <$$1> or lib$$2 is missing; on Debian or Ubuntu: apt-get install $$3$$4" >&2; \
		exit 1; }; }; \
	command -v $(firstword $(CC)) >/dev/null || { \
		echo "mb: no C compiler; on Debian or Ubuntu: apt-get install gcc libc6-dev" >&2; exit 1; }; \
	try csv.h csv libcsv-dev && try jansson.h jansson libjansson-dev && \
	try zlib.h z zlib1g-dev && try xxhash.h xxhash libxxhash-dev && \
	{ [ "$(SQLITE)" != yes ] || try sqlite3.h sqlite3 libsqlite3-dev ", or make SQLITE=no"; } && \
	{ [ "$(ZSTD)" != yes ] || try zstd.h zstd libzstd-dev ", or make ZSTD=no"; }
	@rm -f $@.try && touch $@

$(BUILD)/obj/%.o: lib/%.c $(BUILD)/libraries
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/cmd/%.o: cmd/%.c $(BUILD)/libraries
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) -MMD -MP -c -o $@ $<

# Frames that outlive their function, for ASan to see who still uses them, are
# misplaced by gcc before 12.4 and 13.3 where something in them is aligned to 64
# bytes (its PR110027); a store of a whole vector then traps.
ifneq ($(SAN),)
ifeq ($(findstring clang,$(shell $(CC) --version)),)
HAS_AVX512 = $(shell grep -lE 'avx512|agg/(eight|key_words|keys_parts)\.h' lib/*/*.c)
$(HAS_AVX512:lib/%.c=$(BUILD)/obj/%.o): MB_CFLAGS += --param asan-use-after-return=0
endif
endif

define program
$(BUILD)/bin/$(1): $(BUILD)/obj/cmd/$(1).o $(addprefix $(BUILD)/obj/cmd/,common.o $($(1)_PARTS)) $(addprefix $(BUILD)/obj/,$($(1)_ROOMS))
	@mkdir -p $$(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) -o $$@ $$^ $(LIBS) $($(1)_LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# Every tests/test_NAME.c is a cmocka program over all rooms.
TESTS = $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
ALL_OBJECTS = $(addprefix $(BUILD)/obj/,$(sort $(foreach p,$(PROGRAMS),$($(p)_ROOMS))))

$(BUILD)/tests/test_%: tests/test_%.c $(ALL_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(ALL_OBJECTS) \
		-lcmocka $(LIBS) $(SQLITE_LIBS) $(ZSTD_LIBS)

# The marker rules and the recovery over random histories; it links what decides.
MODEL_OBJECTS = $(addprefix $(BUILD)/obj/,$(BASE) journal/state.o \
	journal/fold.o journal/lines.o journal/scan.o sink/marker.o \
	sink/positions.o)

$(BUILD)/tests/model: $(wildcard tests/model/*.c tests/model/*.h) $(MODEL_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(LIBS)

# What scripts/bench needs; not a test.
$(BUILD)/tests/bench_open: tests/bench_open.c $(ALL_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(ALL_OBJECTS) \
		$(LIBS) $(SQLITE_LIBS) $(ZSTD_LIBS)

# Makes and shows Parquet files, for tests/parquet-interop.
$(BUILD)/tests/parquet: tests/parquet_tool.c $(ALL_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(ALL_OBJECTS) \
		$(LIBS) $(SQLITE_LIBS) $(ZSTD_LIBS)

# What scripts/bench measures with.
$(BUILD)/tests/bench_data: tests/bench_data.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -o $@ $<

# The fast path against the definition: with inputs of its own, and with those
# of libFuzzer (make CC=clang BUILD=build/fuzz FUZZ=1 build/fuzz/tests/fuzz_agg).
ifneq ($(FUZZ),)
FUZZ_FLAGS = -DMB_LIBFUZZER -fsanitize=fuzzer
# NULL + 0 is an offence to clang alone (C2y allows it).
MB_CFLAGS += -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -fno-sanitize=pointer-overflow
MB_LDFLAGS = -fsanitize=address,undefined
endif

$(BUILD)/tests/fuzz_agg: tests/fuzz_agg.c $(addprefix $(BUILD)/obj/,$(mb-agg_ROOMS))
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) $(FUZZ_FLAGS) -MMD -MP -o $@ $< \
		$(filter %.o,$^) $(LIBS)

# Shows a Delta table, for the tests.
$(BUILD)/tests/delta_dump: tests/delta_dump.c $(ALL_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(ALL_OBJECTS) \
		$(LIBS) $(SQLITE_LIBS) $(ZSTD_LIBS)

# Any bytes as a Parquet file; only with libFuzzer (FUZZ=1, as above).
$(BUILD)/tests/fuzz_parquet: tests/fuzz_parquet.c \
		$(addprefix $(BUILD)/obj/,$(BASE) record/gunzip.o $(PARQUET))
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) $(FUZZ_FLAGS) -MMD -MP -o $@ $< \
		$(filter %.o,$^) $(LIBS) $(ZSTD_LIBS)

# Any bytes as the log of a Delta table; likewise.
$(BUILD)/tests/fuzz_delta: tests/fuzz_delta.c \
		$(addprefix $(BUILD)/obj/,$(BASE) $(DURABLE) $(RECORD) $(PARQUET) \
		$(DELTA) $(JOURNAL) sink/marker.o sink/positions.o sink/deltamark.o \
		sink/deltasmall.o)
	@mkdir -p $(@D)
	$(CC) $(MB_CFLAGS) $(MB_LDFLAGS) $(LDFLAGS) $(FUZZ_FLAGS) -MMD -MP -o $@ $< \
		$(filter %.o,$^) $(LIBS) $(ZSTD_LIBS)

# The fault library is preloaded into programs, so it is never sanitized.
$(BUILD)/tests/fault.so: tests/fault.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -g -fPIC -shared -o $@ $< -ldl

tests: all $(TESTS) $(BUILD)/tests/delta_dump $(BUILD)/tests/parquet \
	$(BUILD)/tests/fuzz_agg $(BUILD)/tests/model $(BUILD)/tests/fault.so

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 \
		$(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7
	install -m 755 $(PROGRAMS:%=$(BUILD)/bin/%) $(DESTDIR)$(BINDIR)
	install -m 644 $(MAN1) $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(MAN5) $(DESTDIR)$(MANDIR)/man5
	install -m 644 $(MAN7) $(DESTDIR)$(MANDIR)/man7

uninstall:
	rm -f $(PROGRAMS:%=$(DESTDIR)$(BINDIR)/%) \
		$(patsubst man/%,$(DESTDIR)$(MANDIR)/man1/%,$(MAN1)) \
		$(patsubst man/%,$(DESTDIR)$(MANDIR)/man5/%,$(MAN5)) \
		$(patsubst man/%,$(DESTDIR)$(MANDIR)/man7/%,$(MAN7))

clean:
	rm -rf build

.PHONY: all tests install uninstall clean
.SECONDARY:
-include $(shell find $(BUILD)/obj $(BUILD)/tests -name '*.d' 2>/dev/null)
