#!/usr/bin/env bats
# The scenarios in which a journal is hit, J3 to J13, under their numbers.
# J1 and J2 are tests/fault-loop and tests/power.

load helpers

set_up() {
	seq 30 >in.log
}

tear_down() {
	! mountpoint -q disk 2>/dev/null || umount disk
}

# One run of the pipeline: pipeline JOURNAL TARGET [STAGE]
pipeline() {
	line "mb-collect -j $1 --max-records 10 in.log ${3-} | mb-commit $2"
}

# A broken call of one program: broken PROGRAM NAME=VALUE...; the line's prefix.
broken() {
	local so=$BATS_TEST_DIRNAME/../build/tests/fault.so

	[ -e "$so" ] || {
		echo "make tests has not been run: no $so" >&2
		return 1
	}
	echo "env LD_PRELOAD=$so ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 $*"
}

@test "J3 a torn last line is cut; a flipped bit is refused with its offset, and mended" {
	pipeline j.mbj dir:out
	is "$output" "status 0 0"
	printf '{"mb":"plan","batch":3,"ti' >>j.mbj
	seq 31 33 >>in.log
	pipeline j.mbj dir:out
	has "$output" "j.mbj: cut a torn tail of 26 bytes at byte" "status 0 0"
	same_records in.log out j.mbj
	# One bit, in the first plan, which a later line vouches for.
	offset=$(grep -abo '"mb":"plan"' j.mbj | head -n 1 | cut -d: -f1)
	offset=$((offset - 1))
	cp j.mbj good
	python3 -c "
f = open('j.mbj', 'r+b')
f.seek($offset + 40)
b = f.read(1)
f.seek($offset + 40)
f.write(bytes([b[0] ^ 4]))"
	for tool in 'mb-collect -j j.mbj in.log' 'mb-replay -j j.mbj'; do
		line "$tool"
		has "$output" "$PWD/j.mbj: damaged at byte $offset: " "status 65"
	done
	# Explained first, mended when told to.
	line 'mb-replay -j j.mbj --repair'
	has "$output" " at byte $offset: one bit is wrong: byte $((offset + 40)) is" "status 65"
	line 'mb-replay -j j.mbj --repair --yes'
	has "$output" "status 0"
	cmp -n "$(stat -c %s good)" j.mbj good
	pipeline j.mbj dir:out
	is "$output" "status 0 0"
	same_records in.log out j.mbj
}

@test "J4 no room, or a failing sync: stop before consuming, go on when it is mended" {
	for what in collect commit; do
		for call in write sync; do
			for at in 1 2 3 4; do
				fail="$(broken MB_FAULT_PROG=mb-$what MB_FAULT_MODE=EIO \
					MB_FAULT_CALLS=$call MB_FAULT_AT=$at)"
				rm -rf j.mbj* out
				line "$fail mb-collect -j j.mbj --max-records 10 in.log |
					$fail mb-commit --retry-for 0 dir:out"
				[[ $output == "status 0 0" || $output == *"Input/output error"*75* ]]
				pipeline j.mbj dir:out
				has "$output" "status 0 0"
				same_records in.log out j.mbj
				is "$(rows out | xargs)" "$(xargs <in.log)"
			done
		done
	done
}

@test "J5 a second collector refuses; a copied journal is detected by the sink" {
	start 'mb-collect -j j.mbj -f -i 0 in.log | mb-commit dir:out'
	eventually settled j.mbj 1
	line 'mb-collect -j j.mbj --wait 100ms in.log | cat >/dev/null'
	has "$output" "in use by process $(pid_of mb-collect)" "status 75 0"
	kill -TERM "$(pid_of mb-collect)"
	finished
	cp -r j.mbj copy.mbj
	cp -r j.mbj.d copy.mbj.d
	cp in.log other.log
	echo first >>in.log
	echo second >>other.log
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	cp -r out before
	line 'mb-collect -j copy.mbj other.log | mb-commit dir:out'
	has "$output" "dir:$PWD/out: " "the journal is a copy or was restored from an older one" " 65"
	line 'mb-collect -j copy.mbj --max-records 5 other.log | mb-commit dir:out'
	has "$output" " 65"
	diff -r before out
	same_records in.log out j.mbj
}

@test "J6 a lost journal: never a silent skip, never twice" {
	for sink in dir:out sqlite:x.db#t; do
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		# The journal alone.
		mv j.mbj lost
		pipeline j.mbj "'$sink'"
		has "$output" "$PWD/j.mbj: the journal is gone, but $PWD/j.mbj.d of journal" "status 65 75"
		# With all that was beside it: a new stream, to which the sink doesn't belong.
		mv j.mbj.d lost.d
		pipeline j.mbj "'$sink'"
		has "$output" "journal" " 65"
		rm -r j.mbj*
		# Back again.
		mv lost j.mbj
		mv lost.d j.mbj.d
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		rm -r j.mbj*
	done
	same_records in.log out
	is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "30|30"
}

@test "J6 what was requeued and came in last is not read again" {
	for sink in dir:out "sqlite:out.db#t"; do
		rm -rf j.mbj*
		printf '1\n2\n3\n' >in.txt
		mb-collect -j j.mbj -F lines --max-records 1 in.txt >/dev/null
		mb-replay -j j.mbj --park 2
		mb-replay -j j.mbj --requeue 2
		mb-collect -j j.mbj -F lines in.txt | mb-commit "$sink"
		rm -r j.mbj j.mbj.d
		printf '4\n' >>in.txt
		line "mb-collect -j j.mbj -F lines --adopt '$sink' in.txt |
			mb-commit '$sink'"
		has "$output" "status 0 0"
	done
	[ "$(cat out/batch-*)" = "$(seq 4)" ]
	[ "$(sqlite3 out.db 'SELECT * FROM t')" = "$(seq 4)" ]
}

@test "J6 a journal lost before its first batch was there: we are told what to do" {
	seq 3 >in.log
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	has "$output" "status 0 0"
	rm -r j.mbj* out/batch-*
	line 'mb-collect -j j.mbj --adopt dir:out in.log'
	has "$output" "has no batch yet of the journal at $PWD/j.mbj: remove its .mb-manifest," "status 64"
	rm out/.mb-manifest
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	has "$output" "status 0 0"
	same_records in.log out j.mbj
}

@test "J6 a lost journal: --adopt goes on where the target ended" {
	for sink in dir:out 'sqlite:x.db#t'; do
		pipeline j.mbj "'$sink'"
		for gone in j.mbj "j.mbj j.mbj.d"; do
			rm -r $gone
			expr "$(tail -n 1 in.log)" + 1 >>in.log
			for i in 1 2; do
				line "mb-collect -j j.mbj --adopt '$sink' --max-records 10 in.log |
					mb-commit '$sink'"
				has "$output" "status 0 0"
			done
		done
		line "mb-collect -j other.mbj --adopt '$sink' in.log"
		has "$output" "--adopt: " "has no batches of a journal at $PWD/other.mbj" "status 64"
		rm -r j.mbj*
		mb-collect -j j.mbj in.log >/dev/null
		line "mb-collect -j j.mbj --adopt '$sink' in.log | cat"
		has "$output" "j.mbj: is there, journal" ": nothing to adopt" "status 64"
		rm -r j.mbj*
		if [ "$sink" = dir:out ]; then
			same_records in.log out
		fi
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "32|32"
}

@test "J6 --adopt of a target that isn't there, or knows nothing, is none if the journal is there" {
	mkdir empty
	for target in dir:nowhere dir:empty 'sqlite:no.db#t' delta:no; do
		line "mb-collect -j new.mbj --adopt '$target' in.log | cat"
		has "$output" "mb-collect: --adopt: " "status 64"
		[ ! -e new.mbj ]
	done
	# Such a line can be in a crontab from the first day on.
	mb-collect -j j.mbj --max-records 10 in.log >/dev/null
	for target in dir:nowhere dir:empty 'sqlite:no.db#t' delta:no dir:out; do
		line "mb-collect -j j.mbj --adopt '$target' in.log | mb-commit dir:out"
		is "$target $output" "$target status 0 0"
	done
	same_records in.log out j.mbj
	for target in foo:bar dir: out; do
		line "mb-collect -j j.mbj --adopt '$target' in.log"
		has "$output" "mb-collect: --adopt: $target: " "status 64"
	done
	# A journal that is damaged is there, and the first to be mended.
	rm -r out
	sed -i '2s/"run":0/"run":9/' j.mbj
	line "mb-collect -j j.mbj --adopt dir:out in.log"
	has "$output" "j.mbj: damaged at byte " "status 65"
}

@test "J6 what was parked when the journal was lost is parked again, and comes in once" {
	for sink in dir:out 'sqlite:x.db#t'; do
		mb-collect -j j.mbj --max-records 10 in.log >/dev/null
		mb-replay -j j.mbj --park 0-1 >/dev/null
		mb-replay -j j.mbj --requeue 0 >/dev/null
		mb-replay -j j.mbj --park 3 >/dev/null
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		is "$(states j.mbj)" "0 void 1 parked 2 committed 3 parked"
		rm -r j.mbj*
		seq 31 35 >>in.log
		line "mb-collect -j j.mbj --adopt '$sink' in.log | mb-commit '$sink'"
		has "$output" "batches up to 2, 2 of them not there and parked" "status 0 0"
		is "$(states j.mbj)" "0 parked 1 parked 3 committed"
		mb-replay -j j.mbj --requeue 1 >/dev/null
		line "mb-replay -j j.mbj --failed | mb-commit '$sink'"
		is "$output" "status 0 0"
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		[ "$sink" != dir:out ] || same_records in.log out j.mbj
		rm -r j.mbj*
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "35|35"
}

@test "J6 a pipe's journal is lost, and the sender starts over" {
	line 'mb-collect -j j.mbj --stdin again --max-records 10 <in.log | mb-commit dir:out'
	cat in.log | mb-collect -j p.mbj --stdin again --max-records 10 | mb-commit dir:pipe
	rm -r p.mbj*
	seq 31 35 >>in.log
	line 'cat in.log | mb-collect -j p.mbj --adopt dir:pipe --stdin again | mb-commit dir:pipe'
	has "$output" "status 0 0 0"
	same_records in.log pipe
}

@test "J7 a marker that is found is made durable before it is believed" {
	pipeline j.mbj dir:out
	is "$output" "status 0 0"
	# The last commit's line was lost: mb-commit died before it.
	sed -i '$d' j.mbj
	is "$(states j.mbj)" "0 committed 1 committed 2 planned"
	watched="$(broken MB_FAULT_PROG=mb-commit MB_FAULT_LOG=$PWD/log)"
	line "mb-collect -j j.mbj in.log | $watched mb-commit dir:out"
	has "$output" "batch 2: is committed already; dropped" "status 0 0"
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
	# Order: manifest and directory synced, then the line.
	manifest=$(stat -c %i out/.mb-manifest) dir=$(stat -c %i out)
	synced=$(grep -an "sync [^ ]*$manifest\$" log | tail -n 1 | cut -d: -f1)
	named=$(grep -an "sync [^ ]*$dir\$" log | tail -n 1 | cut -d: -f1)
	believed=$(grep -an '"mb":"commit","batch":2' log | cut -d: -f1)
	[ "$synced" -lt "$believed" ] && [ "$named" -lt "$believed" ]
	same_records in.log out j.mbj
}

@test "J8 a torn line in mid-file that nobody vouches for is cut with what follows" {
	mb-collect -j j.mbj --max-records 10 in.log >frames
	mb-commit dir:out <frames
	# The commits of 0 to 2 came after the last sync.  A power cut keeps
	# those of 1 and 2, and of that of 0 zeros.
	python3 - <<-'END'
		lines = open("j.mbj", "rb").read().split(b"\n")
		at = next(i for i, l in enumerate(lines) if b'"mb":"commit","batch":0' in l)
		lines[at] = b"\0" * len(lines[at])
		open("j.mbj", "wb").write(b"\n".join(lines))
	END
	pipeline j.mbj dir:out
	has "$output" "cut a torn tail of" "status 0 0"
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
	same_records in.log out j.mbj
	# Two writers, one of which dies in mid-line.
	printf '{"mb":"run","run":' >>j.mbj
	seq 31 35 >>in.log
	pipeline j.mbj dir:out
	has "$output" "cut a torn tail of 18 bytes" "status 0 0"
	same_records in.log out j.mbj
}

@test "J9 a journal restored from an older copy stops, and says so" {
	for sink in dir:out sqlite:x.db#t; do
		pipeline j.mbj "'$sink'"
		cp -r j.mbj old.mbj
		seq 31 40 >>in.log
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		cp j.mbj good
		cp old.mbj j.mbj
		# The same range is the same batch; another one is not.
		seq 41 42 >>in.log
		line "mb-collect -j j.mbj in.log | mb-commit '$sink'"
		has "$output" "the journal is a copy or was restored from an older one" " 65"
		cp good j.mbj
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		rm -r j.mbj*
		if [ "$sink" = dir:out ]; then same_records in.log out; fi
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "42|42"
}

@test "J9 a sink restored from an older copy stops, and says so" {
	for sink in dir:out sqlite:x.db#t; do
		file=${sink#*:} file=${file%#*}
		pipeline j.mbj "'$sink'"
		cp -r $file older
		seq 31 40 >>in.log
		pipeline j.mbj "'$sink'"
		rm -r $file*
		mv older $file
		seq 41 42 >>in.log
		pipeline j.mbj "'$sink'"
		has "$output" "was restored from an older copy; --redo puts back what is replayed, --new-target goes on without" " 65"
		pipeline j.mbj "--new-target '$sink'"
		is "$output" "status 0 0"
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		rm -r j.mbj*
		if [ "$sink" = dir:out ]; then
			is "$(rows out | xargs)" "$(seq 30 | xargs) 41 42"
		fi
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT count(*), max(CAST(line AS INT)) FROM t')" "32|42"
}

@test "J9 a target that was dropped and made anew stops, and says so" {
	for sink in dir:out sqlite:x.db#t; do
		file=${sink#*:} file=${file%#*}
		pipeline j.mbj "'$sink'"
		rm -r $file*
		seq 31 40 >>in.log
		pipeline j.mbj "'$sink'"
		has "$output" "is not the target that the journal committed to" " 65"
		# Made anew, by another journal or by hand.
		if [ "$sink" = dir:out ]; then
			mkdir out
		else
			sqlite3 x.db 'CREATE TABLE t (line TEXT)'
		fi
		pipeline j.mbj "'$sink'"
		has "$output" "is not the target that the journal committed to" " 65"
		pipeline j.mbj "--new-target '$sink'"
		is "$output" "status 0 0"
		seq 41 42 >>in.log
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		rm -r j.mbj*
		if [ "$sink" = dir:out ]; then
			is "$(rows out | xargs)" "$(seq 31 42 | xargs)"
		fi
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT min(CAST(line AS INT)), count(*) FROM t')" "31|12"
}

# The batch with the highest number is in the sink, and its commit was lost.
forget_last_commit() {
	tail -n 1 j.mbj | grep -q '"mb":"commit"'
	sed -i '$d' j.mbj
}

@test "J10 what is in the sink and was parked or requeued is found there" {
	for sink in dir:out 'sqlite:x.db#t'; do
		pipeline j.mbj "'$sink'"
		forget_last_commit
		mb-replay -j j.mbj --park 2 >/dev/null
		pipeline j.mbj "'$sink'"
		is "$output" "status 0 0"
		is "$(states j.mbj)" "0 committed 1 committed 2 committed"
		# Under another number, twice, and then passed over.
		seq 31 35 >>in.log
		pipeline j.mbj "'$sink'"
		forget_last_commit
		mb-replay -j j.mbj --park 3 >/dev/null
		mb-replay -j j.mbj --requeue 3 >/dev/null
		mb-replay -j j.mbj --park 4 >/dev/null
		mb-replay -j j.mbj --requeue 4 >/dev/null
		seq 36 37 >>in.log
		for i in 1 2; do
			pipeline j.mbj "'$sink'"
			has "$output" "status 0 0"
		done
		is "$(states j.mbj)" "0 committed 1 committed 2 committed 3 void 4 void 5 committed 6 committed"
		grep -q '"mb":"commit","batch":5,.*"found":true,"as":3,' j.mbj
		line "mb-replay -j j.mbj 0-6 | mb-commit '$sink'"
		has "$output" "batch 5: is committed already; dropped" "status 0 0"
		[ "$sink" != dir:out ] || same_records in.log out j.mbj
		rm -r j.mbj*
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "37|37"
}

@test "J10 a copy gets each record once, whatever its batch's number" {
	pipeline j.mbj dir:out
	mb-collect -j j.mbj --max-records 10 in.log >/dev/null
	seq 31 40 >>in.log
	mb-collect -j j.mbj --max-records 10 in.log >/dev/null
	line 'mb-replay -j j.mbj 0-3 | mb-commit dir:copy'
	is "$output" "status 0 0"
	mb-replay -j j.mbj --park 3 >/dev/null
	mb-replay -j j.mbj --requeue 3 >/dev/null
	line 'mb-replay -j j.mbj 0-4 | mb-commit dir:copy'
	has "$output" "batch 4: is there under an earlier number; dropped" "status 0 0"
	line 'mb-replay -j j.mbj 0-4 | mb-commit dir:later'
	has "$output" "batch 3: is void; dropped" "status 0 0"
	pipeline j.mbj dir:out
	for dir in out copy later; do
		same_records in.log $dir j.mbj
	done
}

@test "J9 --redo puts back what a restored target lacks, and what one made anew does" {
	for sink in dir:out 'sqlite:x.db#t'; do
		file=${sink#*:} file=${file%#*}
		for harm in restored removed; do
			pipeline j.mbj "'$sink'"
			cp -r $file older
			seq 31 50 >>in.log
			pipeline j.mbj "'$sink'"
			rm -r $file*
			[ $harm = removed ] || mv older $file
			rm -rf older
			# In any order; and until all are back, a start is refused.
			first="4 1" rest="0 2-3"
			[ $harm = removed ] || first=4 rest=3
			line "mb-replay -j j.mbj $first | mb-commit --redo '$sink'"
			has "$output" "status 0 0"
			pipeline j.mbj "'$sink'"
			has "$output" "--redo puts back what is replayed" " 65"
			line "mb-replay -j j.mbj $rest | mb-commit --redo '$sink'"
			has "$output" "status 0 0"
			seq 51 52 >>in.log
			pipeline j.mbj "'$sink'"
			is "$output" "status 0 0"
			if [ "$sink" = dir:out ]; then
				same_records in.log out j.mbj
			else
				is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "52|52"
			fi
			rm -r j.mbj* $file*
			seq 30 >in.log
		done
	done
}

@test "J9 --redo: nothing new comes in while anything is missing" {
	seq 6 >in.log
	for i in 1 2; do
		line 'mb-collect -j j.mbj --once --max-records 2 in.log | mb-commit dir:out'
		is "$output" "status 0 0"
	done
	mb-collect -j j.mbj --once --max-records 2 in.log >/dev/null
	is "$(states j.mbj)" "0 committed 1 committed 2 planned"
	rm -r out
	line 'mb-replay -j j.mbj 0 2 | mb-commit --redo dir:out'
	has "$output" "batch 2: --redo: what the target lacks has to be put back before it" " 64"
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	has "$output" "lacks batch 1" " 65"
	line 'mb-replay -j j.mbj 0-2 | mb-commit --redo dir:out'
	is "$output" "status 0 0"
	line 'mb-collect -j j.mbj in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records in.log out j.mbj
}

@test "J9 --redo puts back in any order, also around batches without rows" {
	printf '%s\n' 1 0 2 3 >in.log
	run_all() {
		line "$1 | mb-agg --where 'line > 0' | mb-commit $2 dir:out"
		is "$output" "status 0 0 0"
	}

	run_all 'mb-collect -j j.mbj --max-records 1 in.log'
	rm -r out
	for i in 3 2 1 0; do
		run_all "mb-replay -j j.mbj $i" --redo
	done
	run_all 'mb-collect -j j.mbj in.log'
	is "$(rows out | xargs)" "1 2 3"
}

@test "J9 --redo replaces what a batch wrote" {
	printf 'k,v\na,1\nb,2\na,3\nc,4\n' >in.csv
	redo() { # AGG COMMIT
		line "mb-replay -j j.mbj 1 | mb-agg $1 | mb-commit --redo $2"
	}
	# A file, anew; also one that was taken away, or has no rows any more.
	line 'mb-collect -j j.mbj --max-records 2 in.csv | mb-agg -k k -a sum:v | mb-commit dir:out'
	cp out/.mb-manifest manifest
	redo '-k k -a max:v' dir:out
	is "$output" "status 0 0 0"
	is "$(cat out/batch-000000001.csv | xargs)" "k,v_max a,3 c,4"
	rm out/batch-000000000.csv
	line 'mb-replay -j j.mbj 0 | mb-agg -k k -a sum:v | mb-commit --redo dir:out'
	is "$(cat out/batch-000000000.csv | xargs)" "k,v_sum a,1 b,2"
	redo '-k k -a sum:v' '-o ndjson dir:out'
	has "$output" "the batch is there as batch-000000001.csv, not batch-000000001.ndjson" " 64"
	redo "--where 'v > 9' -k k -a sum:v" dir:out
	is "$(cat out/batch-000000001.csv | xargs)" "k,v_sum"
	cmp manifest out/.mb-manifest
	line 'mb-collect -j j.mbj in.csv | mb-agg -k k -a sum:v | mb-commit dir:out'
	is "$output" "status 0 0 0"
	is "$(ls out | wc -l)" 2
	rm -r j.mbj*
	# Rows that say whose they are.
	line "mb-collect -j j.mbj --max-records 2 in.csv | mb-agg --stamp -k k -a sum:v |
		mb-commit 'sqlite:x.db#t'"
	redo "--stamp --where \"k != 'c'\" -k k -a sum:v" "'sqlite:x.db#t'"
	is "$output" "status 0 0 0"
	is "$(sqlite3 x.db 'SELECT batch, k, v_sum FROM t' | xargs)" "0|a|1 0|b|2 1|a|3"
	redo '-k k -a sum:v' "'sqlite:x.db#t'"
	has "$output" "--redo: which rows are the batch's only a column" " 64"
	rm -r j.mbj*
	# Merged rows: again if nothing came later, never if they were summed.
	line "mb-collect -j j.mbj --max-records 2 in.csv | mb-commit --merge-on k 'sqlite:x.db#m'"
	redo "--where \"k = 'c'\"" "--merge-on k 'sqlite:x.db#m'"
	is "$output" "status 0 0 0"
	line "mb-replay -j j.mbj 0 | mb-commit --redo --merge-on k 'sqlite:x.db#m'"
	has "$output" "--redo: later batches have been merged over it" " 64"
	redo '-k k -a sum:v' "--merge-on k --merge v:sum 'sqlite:x.db#m'"
	has "$output" "64"
	is "$(sqlite3 x.db 'SELECT k, v FROM m ORDER BY k' | xargs)" "a|3 b|2 c|4"
}

@test "J11 a replay goes through beside the live pipeline, and settles nothing elsewhere" {
	start 'while :; do echo x; sleep 0.01; done >>in.log'
	writer=$leader
	start 'mb-collect -j j.mbj -f -i 20ms in.log | mb-commit dir:out'
	# There may always be one that isn't yet.
	three() { [[ $(states j.mbj) == "0 committed 1 committed 2 committed"* ]]; }
	eventually three
	for i in 1 2 3; do
		line 'mb-replay -j j.mbj 0-2 | mb-commit dir:out'
		has "$output" "batch 2: is committed already; dropped" "status 0 0"
	done
	line 'mb-replay -j j.mbj 0-2 | mb-commit dir:copy'
	is "$output" "status 0 0"
	for i in 0 1 2; do
		cmp out/batch-00000000$i.txt copy/batch-00000000$i.txt
	done
	is "$(ls copy | wc -l)" 3
	killed "$writer"
	drained() { [ "$(rows out | wc -l)" -eq "$(wc -l <in.log)" ]; }
	eventually drained
	kill -TERM "$(pid_of mb-collect)"
	finished
	same_records in.log out j.mbj
	is "$(grep -c '"target":"dir:'"$PWD/copy" j.mbj)" 0
	settled j.mbj
}

@test "J12 the same line started again while the old one drains" {
	mb-collect -j j.mbj --max-records 10 in.log >frames
	# The old mb-commit has its batch, but not yet the end.
	mkfifo old
	start 'exec mb-commit dir:out <old'
	old=$leader
	exec 8>old
	head -n 11 frames >&8
	joined() { grep -q '"role":"commit"' j.mbj; }
	eventually joined
	start 'mb-collect -j j.mbj --max-records 10 in.log | mb-commit dir:out'
	new=$leader
	eventually grep -q "waiting for the former pipeline, which still drains" err
	[ ! -e out/batch-000000000.txt ]
	# Now the rest: the old one sees who has come, and leaves.
	tail -n +12 frames >&8
	exec 8>&-
	finished "$old" 75
	has "$(cat err)" "batch 0: dropped: a later mb-collect has started"
	finished "$new"
	same_records in.log out j.mbj
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
}

@test "J12 an old mb-commit that is stopped holds the new line up until it is let go" {
	mb-collect -j j.mbj --max-records 10 in.log >frames
	mkfifo old
	start 'exec mb-commit dir:out <old'
	old=$leader
	exec 8>old
	cat frames >&8 &
	eventually grep -q '"mb":"commit"' j.mbj
	kill -STOP "$old" 
	start 'mb-collect -j j.mbj --max-records 10 in.log | mb-commit dir:out'
	new=$leader
	sleep 0.3
	kill -CONT "$old"
	exec 8>&-
	wait "$old" || true
	finished "$new"
	same_records in.log out j.mbj
	is "$(states j.mbj)" "0 committed 1 committed 2 committed"
}

@test "J12 a zombie's staged batch, committed meanwhile by another, is dropped with a line" {
	for sink in dir:out sqlite:x.db#t; do
		file=${sink#*:} file=${file%#*}
		pipeline j.mbj "'$sink'"
		seq 31 40 >>in.log
		mb-collect -j j.mbj in.log >/dev/null
		rm -f old
		mkfifo old
		# A replay holds no lock between its batches.
		mb-replay -j j.mbj 3 >frames
		start "exec mb-commit '$sink' <old"
		old=$leader
		exec 8>old
		head -n -2 frames >&8
		joined() { [ "$(grep -c '"role":"commit"' j.mbj)" -eq 2 ]; }
		eventually joined
		sleep 0.1
		kill -STOP "$old"
		line "mb-replay -j j.mbj 3 | mb-commit '$sink'"
		is "$output" "status 0 0"
		tail -n 2 frames >&8
		exec 8>&-
		kill -CONT "$old"
		finished "$old"
		has "$(cat err)" "mb-commit: batch 3: is committed already; dropped"
		settled j.mbj 4
		if [ "$sink" = dir:out ]; then same_records in.log out j.mbj; fi
		rm -r j.mbj* err
		seq 30 >in.log
	done
	is "$(sqlite3 x.db 'SELECT count(*), count(DISTINCT line) FROM t')" "40|40"
}

# J13: between the tools.  Whatever it does, nothing wrong is committed, and
# the same line without it puts everything right.
between() { # STATUS MESSAGE FILTER
	rm -rf j.mbj* out
	line "mb-collect -j j.mbj --max-records 10 in.log 2>/dev/null | $3 | mb-commit dir:out"
	is "$3: ${output##* }" "$3: $1"
	has "$output" "$2"
	right_so_far
	pipeline j.mbj dir:out
	has "$output" "status 0 0"
	same_records in.log out j.mbj
	is "$(rows out | xargs)" "$(xargs <in.log)"
}

# What is in the sink is whole batches, each with its own records.
right_so_far() {
	local f n

	for f in out/batch-*; do
		[ -e "$f" ] || continue
		n=$((10#${f:10:9}))
		cmp "$f" <(sed -n "$((n * 10 + 1)),$((n * 10 + 10))p" in.log)
	done
}

@test "J13 a filter that drops control lines" {
	between 65 'no frames: a filter took them' "grep -a -v '^.{\"mb\"'"
	between 65 'line 2: a record outside a batch: a filter took or changed control lines' \
		"awk '!/\"mb\":\"begin\"/'"
	between 65 'line 13: a begin inside a batch' "awk '!/\"mb\":\"end\"/'"
	between 75 'ends without its done line' "awk '!/\"mb\":\"done\"/'"
	between 65 'a filter took' \
		"awk '!/\"mb\":\"hello\"/'"
	between 75 'batch 2: a batch before it is not settled' \
		"awk '/\"begin\".*\"batch\":1,/ { off = 1 } !off; /\"end\".*\"batch\":1,/ { off = 0 }'"
}

@test "J13 a filter that changes, doubles or moves control lines" {
	between 65 'a control line with a wrong checksum' \
		"sed -u 's/\"batch\":1/\"batch\":2/'"
	between 65 'line 2: a control line with a wrong checksum' \
		"sed -u 's/\"records\":10/\"records\":11/'"
	between 65 'line 2: ' "sed -u 's/\$/\r/; 1s/\r//'"
	between 65 'line 2: a second hello' "sed -u p"
	between 65 '' "tac"
	between 65 '' "sort"
	between 65 'a filter took' "{ echo header; cat; }"
	between 65 'line 39: something after done' "{ cat; echo trailer; }"
}

@test "J13 a filter that stops early, with status 0" {
	between 75 'ends without its done line' 'head -n 1'
	between 75 'in the middle of batch 0' 'head -n 2'
	between 75 'in the middle of batch 1' 'head -n 20'
	between 75 'in the middle of' 'head -c 900'
	between 75 'is empty: what is upstream has died' 'true'
	between 75 'without its done line' "sed '/\"mb\":\"end\"/q'"
}

@test "J13 a filter that holds lines back delays, and loses nothing" {
	line "mb-collect -j j.mbj --max-records 10 in.log | { sleep 1; cat; } | mb-commit dir:out"
	is "$output" "status 0 0 0"
	seq 31 50 >>in.log
	line "mb-collect -j j.mbj --max-records 1 in.log | sed 's/no such/text/' | mb-commit dir:out"
	is "$output" "status 0 0 0"
	same_records in.log out j.mbj
}
