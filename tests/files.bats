#!/usr/bin/env bats
# The scenarios 1 to 24 (../shared/scenarios.md), under their numbers: files
# that grow, rotate and vanish.  Each is played twice: undisturbed, and with
# kills at random moments and restarts in the middle.  Each ends with the same
# check: the records in the sink are those that were written, each once, and
# mb-replay --verify finds nothing.

load helpers

set_up() {
	seed=${MB_SEED-$((RANDOM * 32768 + RANDOM))}
	echo "seed $seed" >&2
	RANDOM=$((seed % 32768))
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	[ -e "$so" ] || {
		echo "make tests has not been run: no $so" >&2
		return 1
	}
	mounted=()
}

tear_down() {
	local m

	cd /
	for m in "${mounted[@]}"; do
		umount -l "$m" || true
	done
}

# Play a scenario undisturbed, then disturbed.
twice() { # FUNCTION
	local mode

	for mode in quiet killed; do
		mkdir $mode
		cd $mode
		disturbed=$([ $mode = killed ] && echo yes || echo no)
		options= sources=app.log sink=dir:out
		: >written
		echo "$1, $mode" >&2
		"$1"
		stop
		cd ..
	done
}

# What a writer writes is what the sink must have.
write() { # FILE LINE...
	local file=$1

	shift
	printf '%s\n' "$@" | tee -a "$file" >>written
}

# One run of the pipeline, as from cron; when disturbed, after one or two that
# are killed somewhere.  $said is what the last one told.
once() { # [STATUS OF mb-collect]
	local i program

	if [ $disturbed = yes ]; then
		for ((i = 0; i <= RANDOM % 2; i++)); do
			program=$((RANDOM % 3))
			program=$([ $program = 0 ] && echo mb-commit || echo mb-collect)
			env LD_PRELOAD="$so" MB_FAULT_PROG=$program MB_FAULT_MODE=die \
				MB_FAULT_AT=$((RANDOM % 60 + 1)) \
				ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
				bash -c "mb-collect -j j.mbj --rotate-wait 300ms $options $sources |
					mb-commit --retry-for 0 $sink" >>killed.said 2>&1 || true
		done
	fi
	run timeout 300 bash -c "mb-collect -j j.mbj --rotate-wait 300ms $options $sources |
		mb-commit $sink; echo \"status \${PIPESTATUS[*]}\""
	said=$output
	[[ $said == *"status ${1-0} "* ]] || {
		echo "$said" >&2
		return 1
	}
}

# Follow; when disturbed, something is killed now and then until `stop`.
follow() {
	live="mb-collect -j j.mbj -f -i 50ms --rotate-wait 300ms $options $sources | mb-commit $sink"
	start "$live"
	follower=$leader
}

# The one that follows; it may not have become mb-collect yet.
kill_collector() { # SIGNAL
	local pid

	until pid=$(pgrep -g "$follower" -x mb-collect); do
		kill -0 "$follower" 2>/dev/null || return 0
		sleep 0.01
	done
	kill -"$1" "$pid" || true
}

# In the middle of things: kill the collector, or all of it, and start again.
hurt() {
	[ $disturbed = yes ] || return 0
	if [ $((RANDOM % 2)) = 0 ]; then
		kill_collector KILL
		wait "$follower" 2>/dev/null || true
		forgotten "$follower"
	else
		killed "$follower"
	fi
	start "$live"
	follower=$leader
}

stop() {
	[ -n "${follower-}" ] || return 0
	kill_collector TERM
	wait "$follower" || true
	forgotten "$follower"
	follower=
}

n_rows() {
	rows out 2>/dev/null | wc -l
}

has_rows() { # N
	[ "$(n_rows)" -ge "$1" ]
}

# Until everything that was written is in the sink.
all_in() {
	eventually has_rows "$(wc -l <written)" || {
		echo "$(n_rows) rows of $(wc -l <written)" >&2
		tail -n 5 err >&2
		return 1
	}
}

# The check.
complete() {
	same_records written out j.mbj || {
		diff expected.sorted got.sorted | head -n 20 >&2
		return 1
	}
}

# In this order, too.
in_order() {
	is "$(rows out)" "$(cat written)"
}

n_lost() {
	grep -c '"mb":"lost"' j.mbj || true
}

# Rename the rotated files on, as logrotate does: app.log.1 to .2, and so on.
shift_on() {
	local i

	for i in {40..1}; do
		[ ! -e app.log.$i ] || mv app.log.$i app.log.$((i + 1))
		[ ! -e app.log.$i.gz ] || mv app.log.$i.gz app.log.$((i + 1)).gz
	done
}

rotate() {
	shift_on
	mv app.log app.log.1
}

lines_of() { # WORD FROM TO
	local i

	for ((i = $2; i <= $3; i++)); do
		echo "$1 $i"
	done
}

scenario_1() {
	write app.log a b c
	once
	write app.log d e
	once
	is "$(counts j.mbj)" "3 2"
	in_order
	complete
}

@test "1 append 3 lines, run once, append 2, run once" {
	twice scenario_1
}

scenario_2() {
	write app.log one
	printf half >>app.log
	once
	has "$said" "app.log: 4 bytes after the last whole record wait"
	echo ' line' >>app.log
	echo 'half line' >>written
	once
	is "$(counts j.mbj)" "1 1"
	in_order
	complete
}

@test "2 a last line without newline appears once, whole, in the second batch" {
	twice scenario_2
}

scenario_3() {
	follow
	write app.log one
	printf half >>app.log
	all_in
	hurt
	rotate
	write app.log next
	hurt
	echo half >>written
	all_in
	# The half line is a record of its own, before those of the next file.
	is "$(rows out | xargs)" "one half next"
	grep -q '"partial":true' j.mbj
	complete
}

@test "3 half a line, rotated away: a record of its own after --rotate-wait" {
	twice scenario_3
}

scenario_4() {
	options='--rotate-wait 60s'
	follow
	exec 7>>app.log
	write app.log one
	printf half >&7
	all_in
	rotate
	echo next >>app.log
	hurt
	sleep 0.5
	echo ' a line' >&7
	exec 7>&-
	echo 'half a line' >>written
	echo next >>written
	all_in
	in_order
	complete
}

@test "4 half a line, rotated away, finished by a writer who has the file open" {
	twice scenario_4
}

scenario_5() {
	local i

	follow
	# What was rotated before anybody looked is not ours.
	write app.log begin
	all_in
	for ((i = 0; i < 100; i++)); do
		# As many as there are; the writer waits for none of them.
		lines_of "$i" 1 20 | tee -a written >>app.log
		mv app.log "app.log.$(date +%s%N)"
		[ $((i % 30)) != 17 ] || hurt
	done
	write app.log end
	all_in
	complete
	# The order within each file.
	rows out >in.order
	twenty=$(seq 20)
	for ((i = 0; i < 100; i++)); do
		is "$(awk -v i=$i '$1 == i { print $2 }' in.order)" "$twenty"
	done
	is "$(n_lost)" 0
}

@test "5 a hundred rotations at full rate" {
	twice scenario_5
}

scenario_6() {
	write app.log $(lines_of a 1 5 | tr ' ' -)
	once
	write app.log b1 b2
	rotate
	write app.log c1 c2
	rotate
	write app.log d1
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "6 two rotations while nobody looked: .2 from the offset, .1, then the current" {
	twice scenario_6
}

scenario_7() {
	write app.log $(seq 1000 2000)
	once
	write app.log b1 b2
	rotate
	gzip app.log.1
	write app.log c1
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "7 the rotated file was compressed: the rest is read from the .gz" {
	twice scenario_7
}

# A new file with the inode number of the one that is deleted: the file system
# gives it away again soon, or it is written over in place.
replace() { # FILE LINE...
	local file=$1 inode i

	shift
	inode=$(stat -c %i "$file")
	rm "$file"
	for ((i = 0; i < 200; i++)); do
		: >new.$i
		[ "$(stat -c %i new.$i)" != "$inode" ] || break
	done
	if [ $i -lt 200 ]; then
		mv new.$i app.log
	else
		: >app.log
	fi
	rm -f new.*
	write app.log "$@"
}

has_open() { # FILE
	ls -l "/proc/$(pgrep -g "$follower" -x mb-collect)/fd" | grep -q "$1\$"
}

scenario_7_at_once() {
	mkdir d
	sources=d
	# A batch is cut only when it is full, at no tick.
	live="mb-collect -j j.mbj -f -i 36500d --max-records 150 --rotate-wait 300ms d |
		mb-commit $sink"
	start "$live"
	follower=$leader
	eventually test -e j.mbj
	# Compressed when it is open, and nothing of it in a batch yet.
	seq -f 'line %g' 100 | tee -a written >new
	mv new d/app.log.1
	eventually has_open d/app.log.1
	gzip d/app.log.1
	hurt
	# Time to read that too; who does has more than a batch.
	sleep 1
	is "$(n_rows)" 0
	seq -f 'next %g' 50 | tee -a written >new
	mv new d/app.log
	all_in
	write d/app.log end
	stop
	once
	complete
	is "$(n_lost)" 0
}

@test "7 compressed when nothing of it was in a batch: read once" {
	twice scenario_7_at_once
}

scenario_8() {
	write app.log $(lines_of old 1 50 | tr ' ' -)
	once
	lines_of unread 1 5 >>app.log
	replace app.log new1 new2
	once
	has "$said$(cat killed.said 2>/dev/null)" "app.log: was replaced or truncated; it is read anew from its start, and what it had behind byte 341"
	is "$(n_lost)" 1
	in_order
	complete
	write app.log new3
	once
	in_order
	complete
	is "$(n_lost)" 1
}

@test "8 deleted, and a new file, shorter, with the same inode: lost is recorded" {
	twice scenario_8
}

scenario_9() {
	write app.log $(lines_of old 1 50 | tr ' ' -)
	once
	lines_of unread 1 5 >>app.log
	replace app.log $(lines_of new 1 100 | tr ' ' -)
	once
	is "$(n_lost)" 1
	in_order
	complete
	has "$(mb-replay -j j.mbj)" "lost: "
	has "$(mb-replay -j j.mbj --json | tail -n 1)" '"lost_places":1,"lost_unknown":1,"lost_bytes":0'
}

@test "9 deleted, and a new file, longer, with the same inode: read from 0" {
	twice scenario_9
}

scenario_10() {
	options=--pin
	write app.log $(lines_of old 1 50 | tr ' ' -)
	once
	write app.log unread1 unread2
	rm app.log
	write app.log new1
	once
	is "$(n_lost)" 0
	in_order
	complete
	# Once it is final and settled, it is not needed any more.
	sleep 0.4
	once
	write app.log new2
	once
	in_order
	is "$(ls j.mbj.d/pins | wc -l)" 1
}

@test "10 deleted, but pinned: nothing is lost" {
	twice scenario_10
}

copytruncate() {
	cp app.log app.log.1
	: >app.log
}

scenario_11() {
	follow
	write app.log $(lines_of a 1 50 | tr ' ' -)
	all_in
	hurt
	copytruncate
	write app.log b1
	all_in
	in_order
	complete
	is "$(n_lost)" 0
	stop
	sources="app.log 'app.log.*'"
	once
	in_order
	complete
}

@test "11 copied and truncated, caught up: the copy is not read again" {
	twice scenario_11
}

scenario_12() {
	write app.log $(lines_of a 1 50 | tr ' ' -)
	once
	write app.log b1 b2
	copytruncate
	write app.log c1
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "12 copied and truncated, with unread bytes: from the copy, then from 0" {
	twice scenario_12
}

# While the collector can't look: it is stopped, or, when disturbed, dead.
unseen() { # COMMAND ARG...
	local pid

	if [ $disturbed = yes ]; then
		kill_collector KILL
		wait "$follower" 2>/dev/null || true
		"$@"
		start "$live"
		follower=$leader
		return
	fi
	until pid=$(pgrep -g "$follower" -x mb-collect); do
		sleep 0.01
	done
	kill -STOP "$pid"
	eventually grep -q '^State:.T' "/proc/$pid/status"
	"$@"
	kill -CONT "$pid"
}

# One life after the other, each copied and truncated.
lives() { # NAME COPIES gzip|plain
	local i

	for ((i = 1; i <= $2; i++)); do
		write app.log $(lines_of "$1$i" 1 $((i * 7)) | tr ' ' -)
		shift_on
		copytruncate
		[ "$3" = plain ] || [ $i = "$2" ] || gzip app.log.1
	done
}

has_final() { # N
	[ "$(grep -c '"mb":"final"' j.mbj)" -ge "$1" ]
}

scenario_12_blind() {
	local copies how n=1

	follow
	write app.log $(lines_of a 1 50 | tr ' ' -)
	all_in
	for copies in 1 3; do
		for how in plain gzip; do
			# The live file is empty, and is looked at.
			shift_on
			copytruncate
			eventually has_final $n
			unseen lives "b$copies$how" $copies $how
			write app.log "c$copies$how"
			all_in
			in_order
			# And with something in it that was read.
			unseen lives "d$copies$how" $copies $how
			write app.log "e$copies$how"
			all_in
			in_order
			n=$((n + 2 * copies + 1))
		done
	done
	complete
	is "$(n_lost)" 0
}

@test "12 filled, copied and truncated again and again while nobody looked" {
	twice scenario_12_blind
}

scenario_12_first() {
	# From the collector's start on, also if the file had nothing then.
	write old.log never
	mv old.log app.log.1
	: >written
	: >app.log
	follow
	eventually test -e j.mbj
	hurt
	eventually grep -q '"role":"collect"' j.mbj
	unseen lives a 1 plain
	[ $disturbed = no ] || : >written
	write app.log b
	all_in
	in_order
	complete
}

@test "12 filled, copied and truncated before the first look at something" {
	twice scenario_12_first
}

scenario_12_copying() {
	local n

	# A run from cron, just when the next copy is in the making.
	write app.log $(lines_of a 1 50 | tr ' ' -)
	once
	write app.log a-51
	copytruncate
	write app.log $(lines_of b 1 300 | tr ' ' -)
	shift_on
	# Whole lines: nothing waits for their end.
	n=100
	[ $disturbed = no ] || n=$((RANDOM % 2 * RANDOM % 200))
	head -n $n app.log >app.log.1
	live="mb-collect -j j.mbj $sources | mb-commit dir:out"
	start "$live"
	follower=$leader
	eventually has_rows 51
	hurt
	sleep 0.3
	tail -n +$((n + 1)) app.log >>app.log.1
	: >app.log
	write app.log c1
	if [ $disturbed = no ]; then
		finished "$follower"
		follower=
	else
		wait "$follower" || true
		once
	fi
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "12 a copy in the making is not what was before the file" {
	twice scenario_12_copying
}

scenario_13() {
	write app.log $(seq 1000 2000)
	once
	write app.log b1 b2
	copytruncate
	gzip app.log.1
	write app.log c1
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "13 copied, truncated and compressed: from the .gz" {
	twice scenario_13
}

scenario_14() {
	write app.log $(lines_of a 1 50 | tr ' ' -)
	once
	echo unread >>app.log
	copytruncate
	rm app.log.1
	write app.log b1
	options=--strict
	run bash -c "mb-collect -j j.mbj --strict app.log | mb-commit dir:out; echo status \${PIPESTATUS[*]}"
	has "$output" "app.log: was replaced or truncated" "is lost (--strict)" "status 65 "
	options=
	once
	is "$(n_lost)" 1
	in_order
	complete
}

@test "14 copied and truncated, the copy deleted: lost, and --strict stops" {
	twice scenario_14
}

scenario_15() {
	follow
	write app.log $(lines_of a 1 50 | tr ' ' -)
	all_in
	hurt
	# In one write: nobody can look in between.
	lines_of b 1 100 | tee -a written | dd of=app.log bs=1M conv=fsync status=none
	all_in
	in_order
	complete
}

@test "15 truncated and written anew beyond the old offset between two looks" {
	twice scenario_15
}

scenario_16() {
	follow
	exec 7>app.log
	lines_of a 1 50 | tee -a written >&7
	all_in
	hurt
	: >app.log
	lines_of b 1 3 | tee -a written >&7
	all_in
	lines_of c 1 3 | tee -a written >&7
	exec 7>&-
	all_in
	in_order
	grep -q '"reason":"a hole: [0-9]* NUL bytes"' j.mbj
	complete
}

@test "16 a writer who doesn't append leaves a hole: skipped and journalled" {
	twice scenario_16
}

scenario_17() {
	sources="'*.log'"
	lines_of same 1 1500 | tee a.log >b.log
	write a.log a1
	write b.log b1 b2
	lines_of same 1 1500 >>written
	lines_of same 1 1500 >>written
	once
	complete
	write b.log b3
	write a.log a2
	once
	complete
}

@test "17 two files with the same first 10 kB: both are read" {
	twice scenario_17
}

scenario_18() {
	sources=logs
	mkdir logs
	: >logs/empty
	printf x >logs/one
	write logs/short a b
	once
	echo yz >>logs/one
	echo xyz >>written
	write logs/empty first
	write logs/short $(seq 5000)
	once
	write logs/short last
	once
	complete
	is "$(n_lost)" 0
}

@test "18 files of 0 and 1 bytes, and one that outgrows its anchor" {
	twice scenario_18
}

other_fs() {
	mkdir -p other
	mount -t tmpfs none other 2>/dev/null || {
		echo "no tmpfs can be mounted" >&2
		return 1
	}
	mounted+=("$PWD/other")
}

scenario_19() {
	mkdir here
	other_fs
	ln -s here d
	sources=d/app.log
	write here/app.log $(lines_of a 1 50 | tr ' ' -)
	follow
	all_in
	hurt
	# The name is resolved at the start: so mount over it, in effect.
	stop
	mv here/app.log other/app.log
	mount --bind other here
	mounted+=("$PWD/here")
	write here/app.log b1 b2
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "19 moved to another file system, same name: the same generation goes on" {
	twice scenario_19
}

scenario_20() {
	mkdir real here
	other_fs
	cp /dev/null other/app.log
	mount --bind other here
	mounted+=("$PWD/here")
	sources=here/app.log
	write here/app.log $(lines_of a 1 50 | tr ' ' -)
	once
	# Another device number, and another inode number with it.
	umount here
	cp -p other/app.log real/
	write real/app.log b1
	mount --bind real here
	once
	in_order
	complete
	is "$(n_lost)" 0
}

@test "20 the device has another number: the same generation goes on" {
	twice scenario_20
}

scenario_20_same_inode() {
	write app.log $(lines_of a 1 50 | tr ' ' -)
	once
	write app.log b1
	# Rebooted.
	export LD_PRELOAD=$so MB_FAULT_DEVICE=77
	export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
	once
	in_order
	# And again, with a rotation in between.
	MB_FAULT_DEVICE=78
	write app.log b2
	rotate
	write app.log c1
	once
	unset LD_PRELOAD MB_FAULT_DEVICE ASAN_OPTIONS
	in_order
	complete
	is "$(n_lost)" 0
	is "$(grep -o '"mb":"source".*"inode":"[0-9a-f]*:' j.mbj | grep -c ':"4e:')" 1
	is "$(grep -c '"mb":"source"' j.mbj)" 2
}

@test "20 the device has another number, the inode is the same: it goes on" {
	twice scenario_20_same_inode
}

scenario_21() {
	sources="current.log 2026-11-2*.log"
	ln -s 2026-11-23.log current.log
	follow
	write 2026-11-23.log a1 a2
	all_in
	hurt
	write 2026-11-24.log b1
	ln -sfn 2026-11-24.log current.log
	write 2026-11-23.log a3
	write 2026-11-24.log b2
	hurt
	all_in
	complete
	stop
	# By the link alone, also while nobody looks.
	rm -r j.mbj* out
	: >written
	rm 2026-11-2*.log
	ln -sfn 2026-11-25.log current.log
	sources=current.log
	write 2026-11-25.log c1
	once
	write 2026-11-25.log c2
	ln -sfn 2026-11-26.log current.log
	write 2026-11-26.log d1
	once
	in_order
	complete
}

@test "21 a link that moves on; the same file by two paths is read once" {
	twice scenario_21
}

scenario_22() {
	# Of a file: without -f an error, with -f told and tried again.  root can
	# read everything, so the tools run as somebody else.
	write app.log a1 a2
	chown -R 65534 .
	chmod 711 . .. ../.. ../../..
	live="setpriv --reuid 65534 --clear-groups bash -c '
		mb-collect -j j.mbj -f -i 50ms app.log | mb-commit dir:out'"
	start "$live"
	follower=$leader
	all_in
	# Unreadable from its first moment on: it may be opened at once.
	: >next
	chmod 0 next
	mv app.log app.log.1
	mv next app.log
	write app.log b1
	eventually grep -q "app.log: Permission denied" err
	hurt
	write app.log.1 a3
	sleep 0.3
	chmod 644 app.log
	all_in
	complete
	is "$(n_lost)" 0
	stop
}

@test "22 not to be opened for a while, then back: nothing dropped, nothing again" {
	twice scenario_22
}

# The collector has no descriptors left, or as many as it likes.
limit_files() { # N
	local pid

	until pid=$(pgrep -g "$follower" -x mb-collect); do
		sleep 0.01
	done
	prlimit --pid "$pid" --nofile="$1:"
}

scenario_22_emfile() {
	sources="app.log 'd*.log'"
	follow
	write app.log a1
	write d.log x1
	all_in
	# It can't open anything: neither the successor nor a new file.  What is
	# open is read on.
	limit_files 3
	rotate
	write app.log b1
	write d2.log y1
	write d.log x2
	eventually grep -q "app.log: Too many open files" err
	[ $disturbed = yes ] || eventually has_rows 3
	hurt
	write app.log b2
	[ $disturbed = yes ] || limit_files 1024
	all_in
	complete
	is "$(n_lost)" 0
	[ $disturbed = yes ] || is "$(grep -c "app.log: Too many open files" err)" 1
}

@test "22 too many open files for a while: nothing dropped, nothing again" {
	twice scenario_22_emfile
}

# Reading fails as long as there is the file `broken`.
broken() { # COMMAND...
	echo "env LD_PRELOAD='$so' MB_FAULT_PROG=mb-collect MB_FAULT_CALLS=read \
		MB_FAULT_MODE=EIO MB_FAULT_AT=1 MB_FAULT_STICKY=1 \
		MB_FAULT_FILE=/app.log MB_FAULT_WHILE='$PWD/broken' \
		ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 $*"
}

scenario_22_eio() {
	local n

	live="$(broken mb-collect -j j.mbj -f -i 50ms --rotate-wait 300ms app.log other.log) |
		mb-commit dir:out"
	start "$live"
	follower=$leader
	write app.log a1
	write other.log o1
	all_in
	: >broken
	write app.log a2
	write other.log o2
	eventually grep -q 'app.log: .*Input/output error' err
	eventually bash -c 'cat out/batch-* | grep -q o2'
	hurt
	# Rotated and taken away: only what holds it open can still give it.
	write app.log a3
	rotate
	[ $disturbed = yes ] || mv app.log.1 ../taken
	write app.log b1
	write other.log o3
	eventually bash -c 'cat out/batch-* | grep -q o3'
	# Not at each look; but of the new file it may be told, too.
	[ $disturbed = yes ] || [ "$(grep -c 'Input/output error' err)" -le 2 ]
	rm broken
	all_in
	[ $disturbed = yes ] || mv ../taken app.log.1
	complete
	is "$(n_lost)" 0
	stop
	# Without -f it is an error, and the next run goes on.
	: >broken
	write app.log b2
	run bash -c "$(broken mb-collect -j j.mbj app.log other.log) | mb-commit dir:out
		echo \"status \${PIPESTATUS[*]}\""
	has "$output" "Input/output error" "status 75 "
	rm broken
	sources="app.log other.log"
	once
	complete
	is "$(n_lost)" 0
}

@test "22 reading fails for a while: told once, and nothing is dropped" {
	twice scenario_22_eio
}

# How often the lines of `err` that have this text name app.log.
names_of() { # TEXT
	grep -- "$1" err | grep -o 'app\.log' | wc -l
}

scenario_22_planned() {
	sources="app.log other.log"
	write app.log a1
	write other.log o1
	# Planned, and nobody committed it.
	mb-collect -j j.mbj app.log >/dev/null || true
	is "$(counts j.mbj)" 1
	: >broken
	live="$(broken mb-collect -j j.mbj -f -i 50ms app.log other.log) |
		mb-commit $1 dir:out"
	start "$live"
	follower=$leader
	eventually grep -q 'batch 0: .*app.log: .*Input/output error; tried again' err
	hurt
	sleep 1.2
	[ $disturbed = yes ] || is "$(grep -c 'Input/output error' err)" 1
	[ $disturbed = yes ] || is "$(names_of 'Input/output error')" 1
}

scenario_22_later() {
	scenario_22_planned
	rm broken
	all_in
	in_order
	stop
	complete
	is "$(n_lost)" 0
}

@test "22 what is planned can't be read for a while: it waits, and goes on" {
	twice scenario_22_later
}

scenario_22_parked() {
	scenario_22_planned
	mb-replay -j j.mbj --park 0
	# The other file goes on.
	eventually bash -c 'cat out/batch-* | grep -q o1'
	rm broken
	stop
	mb-replay -j j.mbj --failed | mb-commit dir:out
	complete
	is "$(n_lost)" 0
}

@test "22 what is planned can't be read: parked, the others go on" {
	twice scenario_22_parked
}

# The pipe to whoever reads from descriptor 7 is full.
is_full() {
	python3 -c '
import fcntl, struct, sys, termios
n = fcntl.ioctl(7, termios.FIONREAD, struct.pack("i", 0))
sys.exit(struct.unpack("i", n)[0] < 1000000)'
}

# Half of a batch has left when the rest of it can't be read.
half_sent() {
	seq 500000 >app.log
	cp app.log written
	mb-collect -j j.mbj app.log >/dev/null || true
	mkfifo held
	start "exec $(broken mb-collect -j j.mbj -f -i 50ms app.log) >held"
	collector=$leader
	exec 7<held
	eventually is_full
	: >broken
	start 'exec mb-commit dir:out <held'
	exec 7<&-
	eventually grep -q 'batch 0: .*app.log: .*Input/output error; tried again' err
	eventually grep -q '"role":"commit"' j.mbj
	is "$(ls out 2>/dev/null)" ""
}

@test "22 reading fails in the middle of a batch that leaves: it waits, and goes on" {
	half_sent
	# Also at the next try.
	sleep 1.2
	rm broken
	eventually settled j.mbj 1
	kill -TERM "$collector"
	finished
	finished "$collector"
	is "$(grep -c 'Input/output error' err)" 1
	is "$(names_of 'Input/output error')" 1
	is "$(states j.mbj)" "0 committed"
	complete
}

@test "22 the same, and it is parked: the others go on" {
	half_sent
	mb-replay -j j.mbj --park 0
	eventually grep -q 'mb-commit: batch 0: is parked: .*Input/output error' err
	is "$(names_of 'mb-commit: batch 0: is parked: ')" 1
	rm broken
	echo more | tee -a written >>app.log
	eventually settled j.mbj 1
	kill -TERM "$collector"
	# What failed is told by the status.
	finished "$leader" 75
	finished "$collector"
	is "$(states j.mbj)" "0 parked 1 committed"
	mb-replay -j j.mbj --failed | mb-commit dir:out
	complete
}

@test "22 the same, and it is told to end: 75, and the next run sends it" {
	half_sent
	kill -TERM "$collector"
	finished "$leader" 75
	finished "$collector" 75
	rm broken
	is "$(states j.mbj)" "0 failed"
	mb-collect -j j.mbj app.log | mb-commit dir:out
	is "$(states j.mbj)" "0 committed"
	complete
}

@test "22 the same with a command: it isn't run before all is there; parked, the others go on" {
	seq 5 >app.log
	seq 6 7 >other.log
	mb-collect -j j.mbj other.log app.log >/dev/null || true
	: >broken
	start "exec $(broken mb-collect -j j.mbj -f -i 50ms other.log app.log -- sh -c "'cat >>out'")"
	eventually grep -q 'batch 0: .*app.log: .*Input/output error; tried again' err
	sleep 1.2
	[ ! -e out ]
	rm broken
	eventually settled j.mbj 1
	kill -TERM "$(pid_of mb-collect)"
	finished
	is "$(sort out)" "$(seq 7)"
	seq 8 9 >>app.log
	mb-collect -j j.mbj other.log app.log >/dev/null || true
	: >broken err
	start "exec $(broken mb-collect -j j.mbj -f -i 50ms other.log app.log -- sh -c "'cat >>out'")"
	eventually grep -q 'batch 1: .*app.log: .*Input/output error; tried again' err
	mb-replay -j j.mbj --park 1
	eventually grep -q 'batch 1: .*; parked' err
	echo 10 >>other.log
	eventually settled j.mbj 2
	kill -TERM "$(pid_of mb-collect)"
	finished
	is "$(sort -n out)" "$(seq 7; echo 10)"
	is "$(states j.mbj)" "0 committed 1 parked 2 committed"
}

n_forgotten() {
	sed -n 's/.*"mb":"forget","generations":\[\([^]]*\)\].*/\1/p' j.mbj |
		tr ',' '\n' | wc -w
}

has_forgotten() { # N
	[ "$(n_forgotten)" -ge "$1" ]
}

scenario_forget() {
	mkdir logs
	sources=logs
	write logs/a.log a1
	write logs/b.log b1
	write logs/c.log $(lines_of c 1 500 | tr ' ' -)
	write logs/d.log d1
	once
	# Renamed beyond the directory, as it goes on in one that was compressed,
	# and gone.
	mv logs/b.log logs/.b.log
	gzip logs/c.log
	rm logs/d.log
	write logs/a.log a2
	once
	is "$(n_forgotten)" 1
	# What is only hidden is still known.
	mv logs/.b.log logs/b.log
	write logs/b.log b2
	once
	in_order
	complete
	# Whoever follows looks for them once, when he starts; by the name of the
	# directory, others are not his.
	rm logs/b.log
	sources=logs/a.log
	once
	is "$(n_forgotten)" 1
	sources=logs
	follow
	eventually has_forgotten 2
	write logs/a.log a3
	all_in
	stop
	# c.log.gz still is; verify tells of the others that they are gone.
	is "$(n_forgotten)" 2
	in_order
	is "$(n_lost)" 0
	mb-replay -j j.mbj --verify
}

@test "what was deleted while nobody looked is forgotten" {
	twice scenario_forget
}

# A batch that is parked needs to know what it was made of.
@test "what was deleted stays known as long as a parked batch needs it" {
	mkdir logs
	echo a >logs/a.log
	echo b >logs/b.log
	mb-collect -j j.mbj --max-records 1 logs >/dev/null || true
	mb-replay -j j.mbj --park 1
	rm logs/b.log
	mb-collect -j j.mbj logs | mb-commit dir:out
	has "$(cat j.mbj)" '"mb":"forget","generations":[1]'
	run mb-replay -j j.mbj --requeue 1
	is "$status" 0
	has "$(cat j.mbj)" '"lost":[{"generation":1,'
	is "$(rows out)" a
}

@test "a file system that isn't mounted: nothing is forgotten, nothing read twice" {
	disturbed=no options= sources=logs sink=dir:out
	: >written
	mkdir logs
	other_fs
	mount --bind other logs
	mounted+=("$PWD/logs")
	write logs/a.log a1 a2
	mkdir logs/deep
	write logs/deep/b.log b1
	sources="logs 'logs/d*/*.log'"
	once
	umount logs
	once
	is "$(n_forgotten)" 0
	follow
	sleep 0.5
	mount --bind other logs
	write logs/a.log a3
	write logs/deep/b.log b2
	all_in
	stop
	# A directory that was removed is on the same one.
	rm -r logs/deep
	once
	is "$(n_forgotten)" 1
	is "$(rows out | sort)" "$(sort written)"
	is "$(n_lost)" 0
	mb-replay -j j.mbj --verify
}

scenario_23() {
	options='--record-limit 1M'
	write app.log before
	head -c 20000000 /dev/zero | tr '\0' x >>app.log
	echo >>app.log
	printf 'a\0b\0\0c\n' | tee -a written >>app.log
	printf 'with CR\r\n' | tee -a written >>app.log
	# Two bytes of one character on two sides of a read of 128 KiB.
	head -c 131071 /dev/zero | tr '\0' y | tee -a written >>app.log
	printf '\303\244\n' | tee -a written >>app.log
	write app.log after
	once
	write app.log later
	once
	in_order 2>/dev/null || cmp <(rows out) written
	grep -q '"start":7,"end":20000008,"reason":' j.mbj
	complete
}

@test "23 a line that is far too long, NULs, CRLF, UTF-8 cut by a read" {
	twice scenario_23
}

scenario_24() {
	# The writer finishes it in time, however slow the machine.
	options='--record-limit 64K -F csv --rotate-wait 60s'
	sources=app.log
	follow
	echo x,y >app.log
	printf '1,"a\nb' >>app.log
	sleep 0.2
	hurt
	printf '\nc"\n2,d\n' >>app.log
	printf '1,"a\nb\nc"\n2,d\n' >>written
	all_in
	# Straddling the rotation: the writer finishes it in the old file.
	exec 7>>app.log
	printf '3,"e\n' >&7
	sleep 0.2
	rotate
	echo x,y >app.log
	write app.log 4,g
	printf 'f"\n' >&7
	exec 7>&-
	printf '3,"e\nf"\n' >>written
	all_in
	# Longer than the read buffer, and one that is never closed.
	printf '5,"%s\nh"\n' "$(head -c 60000 /dev/zero | tr '\0' z)" | tee -a written >>app.log
	printf '6,"never\n' >>app.log
	write app.log $(seq -f '7,%.0f' 20000)
	all_in
	complete
	grep -q '"rejects":' j.mbj
}

@test "24 newlines in quotes across cuts, rotation and reads; a quote never closed" {
	twice scenario_24
}
