#!/usr/bin/env bats
# mb-commit: each batch to its target, atomically and exactly once.

load helpers

set_up() {
	printf 'a,b\n1,2\n3,4\n5,6\n' >in.csv
	printf '{"a":1,"b":"x"}\n{"a":2.50,"b":null}\n' >in.ndjson
	seq 6 >in.log
}

tear_down() {
	! mountpoint -q disk 2>/dev/null || umount disk
}

sql() {
	sqlite3 -batch "$@"
}

@test "dir: a file per batch, named by number and format" {
	printf 'a\tb\n1\t2\n' >in.tsv
	line 'mb-collect -j j.mbj --max-records 2 in.csv in.ndjson in.log in.tsv |
		mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(ls out | sed 's/.*\.//' | sort | xargs)" "csv csv ndjson tsv txt txt txt"
	is "$(cat out/batch-000000000.csv)" $'a,b\n1,2\n3,4'
	is "$(cat out/batch-000000001.csv)" $'a,b\n5,6'
	cmp in.ndjson out/*.ndjson
	cmp in.tsv out/*.tsv
	cat out/*.txt | cmp - in.log
}

@test "dir: output files follow the umask, and nothing else is left" {
	umask 027
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:a/../out'
	is "$output" "status 0 0" || has "$output" "status"
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$(stat -c '%a %n' out out/*)" $'750 out\n640 out/batch-000000000.csv'
	is "$(ls -A out | xargs)" ".mb-manifest batch-000000000.csv"
}

@test "dir: --gzip, the same bytes each time" {
	for i in 1 2; do
		line "mb-collect -j $i.mbj in.csv | mb-commit --gzip dir:out$i"
		is "$output" "status 0 0"
		gzip -dc out$i/batch-000000000.csv.gz | cmp - in.csv
		sleep 1.1
	done
	cmp out1/batch-000000000.csv.gz out2/batch-000000000.csv.gz
}

@test "-o converts: csv to ndjson and back, lines to csv" {
	printf 'n,t,e,q\n1.50,x y,,""\n1e3,"a,""b""",NaN,007\n' >types.csv
	line 'mb-collect -j 1.mbj types.csv | mb-commit -o ndjson -'
	is "$output" '{"n":1.50,"t":"x y","e":null,"q":""}
{"n":1e3,"t":"a,\"b\"","e":"NaN","q":"007"}
status 0 0'
	line 'mb-collect -j 2.mbj in.ndjson | mb-commit -o csv dir:out'
	is "$output" "status 0 0"
	is "$(cat out/batch-000000000.csv)" $'a,b\n1,x\n2.50,'
	line 'mb-collect -j 3.mbj --max-records 4 in.log | mb-commit -o csv - | xargs'
	is "$output" $'line 1 2 3 4 5 6\nstatus 0 0 0'
	line 'mb-collect -j 4.mbj in.csv | mb-commit --null 4 -o ndjson -'
	has "$output" '{"a":3,"b":null}'
}

@test "ndjson to csv: a key that the first record lacks is a reject" {
	printf '{"a":1}\n{"a":2,"z":3}\n{"a":3}\n' >keys.ndjson
	line 'mb-collect -j 1.mbj keys.ndjson | mb-commit -o csv dir:out1'
	has "$output" "status 0 0"
	is "$(rows out1 | xargs)" "1 3"
	is "$(sed 1d 1.mbj.d/rejects/commit-000000000.ndjson |
		jq -c '[.batch, .record, .reason, .data]')" \
		'[0,2,"a key that the first record doesn'"'"'t have: z","{\"a\":2,\"z\":3}\n"]'
	line 'mb-collect -j 2.mbj keys.ndjson | mb-commit --on-bad skip -o csv dir:out2'
	is "$(rows out2 | xargs)" "1 3"
	[ ! -e 2.mbj.d/rejects ]
	line 'mb-collect -j 3.mbj keys.ndjson | mb-commit --on-bad fail -o csv dir:out3'
	has "$output" "batch 0: " "record 2: a key that the first record doesn't have: z" " 65"
	[ ! -e out3/batch-000000000.csv ]
	is "$(states 3.mbj)" "0 failed"
}

@test "the header of - is written once, and again where it changes" {
	printf '{"a":1}\n{"a":2}\n{"b":3}\n' >keys.ndjson
	line 'mb-collect -j 1.mbj --max-records 1 keys.ndjson | mb-commit -o csv -'
	is "$output" $'a\n1\n2\nb\n3\nstatus 0 0'
	line 'mb-collect -j 2.mbj --max-records 1 in.csv | mb-commit -'
	is "$output" $'a,b\n1,2\n3,4\n5,6\nstatus 0 0'
}

@test "a line that a filter leaves with an open quote is a reject, not lost" {
	line "mb-collect -j 1.mbj in.csv | sed -u 's/^3/\"3/' | mb-commit dir:out1"
	has "$output" "status 0 0 0"
	is "$(rows out1 | xargs)" "1,2 5,6"
	is "$(sed 1d 1.mbj.d/rejects/commit-000000000.ndjson |
		jq -c '[.record, .reason, .data]')" \
		'[2,"a quote is opened and not closed","\"3,4\n"]'
	line "mb-collect -j 2.mbj in.csv | sed -u 's/^3/\"3/' |
		mb-commit --on-bad fail dir:out2"
	has "$output" "batch 0: record 2: a quote is opened and not closed" "65"
}

@test "a batch without rows is settled, and touches no sink" {
	line "mb-collect -j j.mbj in.csv | sed -u '/^[0-9]/d' | mb-commit dir:out"
	is "$output" "status 0 0 0"
	[ ! -e out/batch-000000000.csv ]
	is "$(states j.mbj)" "0 committed"
	printf '7,8\n' >>in.csv
	line "mb-collect -j j.mbj in.csv | mb-commit dir:out"
	is "$output" "status 0 0"
	is "$(rows out)" 7,8
}

@test "a filter between the tools changes records, and both numbers are kept" {
	line "mb-collect -j j.mbj in.csv |
		awk '/^\\036/ || \$0 != \"3,4\"; { fflush() }' | mb-commit dir:out"
	is "$output" "status 0 0 0"
	is "$(rows out | xargs)" "1,2 5,6"
	is "$(tail -n 1 j.mbj | jq -c '[.records, .rows]')" "[3,2]"
}

@test "a plain stream is refused without --plain" {
	line 'mb-commit dir:out <in.csv'
	has "$output" "mb-commit: standard input: no frames: a filter took them, or give --plain (at-least-once)" "status 65"
	line 'mb-commit dir:out </dev/null'
	has "$output" "mb-commit: standard input is empty: what is upstream has died" "status 75"
	[ ! -e out ]
}

@test "--plain takes a plain stream as one batch" {
	line 'mb-commit --plain -F csv dir:out <in.csv'
	is "$output" "status 0"
	line 'mb-commit --plain dir:out <in.ndjson'
	is "$output" "status 0"
	is "$(ls out | xargs)" "batch-000000000.csv batch-000000001.ndjson"
	cmp in.csv out/batch-000000000.csv
	line 'mb-commit --plain -F csv -d ";" --no-header -o ndjson - <in.csv'
	is "$output" $'{"1":"a,b"}\n{"1":"1,2"}\n{"1":"3,4"}\n{"1":"5,6"}\nstatus 0'
	line ': | mb-commit --plain -F csv dir:none'
	is "$output" "status 0 0"
	[ ! -e none ]
	# No newline at the end.
	line 'printf "1\n2" | mb-commit --plain -'
	is "$output" $'1\n2status 0 0'
	# Not into the directory of a journal.
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:owned'
	line 'mb-commit --plain -F csv dir:owned <in.csv'
	has "$output" "dir:$PWD/owned: belongs to another journal" "status 65"
}

@test "in a plain stream a control line is an error, naming the line" {
	line '{ echo x; mb-collect -j j.mbj in.csv; } | mb-commit --plain dir:out'
	has "$output" "standard input: line 2: a control line in a plain stream" " 65"
}

@test "the journal is -j, else MB_JOURNAL, else the frame's" {
	mb-collect -j j.mbj in.csv >frames
	mb-collect -j other.mbj in.csv >/dev/null
	line 'mb-commit -j other.mbj dir:out <frames'
	has "$output" "other.mbj: is journal" "but the frames are of" "status 64"
	line 'MB_JOURNAL=other.mbj mb-commit dir:out <frames'
	has "$output" "status 64"
	line 'MB_JOURNAL=other.mbj mb-commit -j ./j.mbj dir:out <frames'
	is "$output" "status 0"
	[ -e out/batch-000000000.csv ]
}

@test "a frame's journal that is gone, or another user's, is not used" {
	mb-collect -j j.mbj in.csv >frames
	if [ "$(id -u)" -eq 0 ]; then
		chown 65534 j.mbj
		line 'mb-commit dir:out <frames'
		has "$output" "$PWD/j.mbj: no such journal here, or another user's: give -j FILE" "status 64"
		chown 0 j.mbj
	fi
	mkdir moved
	mv j.mbj j.mbj.d moved/
	line 'mb-commit dir:out <frames'
	has "$output" "$PWD/j.mbj: no such journal here, or another user's: give -j FILE" "status 64"
	line 'mb-commit -j moved/j.mbj dir:out <frames'
	is "$output" "status 0"
}

@test "usage errors name the option and end with 64" {
	for wrong in '--merge-on a --merge b:add|--merge: ' \
		'--merge b:sum|--merge: needs --merge-on' \
		'--merge-on ,|--merge-on: ' '--schema a|--schema: ' \
		'--schema a:integer|--schema: a: ' '--on-bad drop|--on-bad: ' \
		'--retry-for 1|--retry-for: ' '-o xml|--output: '; do
		run mb-commit ${wrong%%|*} sqlite:x.db#t </dev/null
		is "$status" 64
		has "$output" "mb-commit: ${wrong#*|}"
	done
	run mb-commit </dev/null
	is "$status $output" "64 mb-commit: no TARGET: give dir:PATH, sqlite:FILE#TABLE, delta:PATH or -"
	run mb-commit dir:a dir:b </dev/null
	is "$status" 64
	mb-collect -j j.mbj in.csv >frames
	for target in nowhere dir: out kafka:x sqlite:x.db sqlite:x.db# 'sqlite:#t' dir:in.csv; do
		run mb-commit "$target" <frames
		is "$target $status" "$target 64"
		has "$output" "mb-commit: "
	done
	run mb-commit --merge-on a dir:out <frames
	is "$status" 64
	has "$output" "--merge-on"
	run mb-commit -h
	has "$output" "TARGET" --merge-on --new-target
	is "$(mb-replay -j j.mbj | awk 'NR > 1 { print $1, $2 }' | tail -n 1 | cut -c 1)" 0
	[ ! -e x.db ]
}

@test "what comes of a dead collector's status is passed on" {
	line 'mb-collect -j j.mbj in.csv nosuch.csv | mb-commit dir:out'
	has "$output" "mb-collect: $PWD/nosuch.csv: no such file" "ended with status 64" "status 64 64"
}

@test "a batch that is committed already is dropped, with a line" {
	mb-collect -j j.mbj --max-records 1 in.csv >frames
	line 'mb-commit dir:out <frames'
	is "$output" "status 0"
	line 'mb-commit dir:out <frames'
	is "$output" "mb-commit: batch 0: is committed already; dropped
mb-commit: batch 1: is committed already; dropped
mb-commit: batch 2: is committed already; dropped
status 0"
}

@test "frames of a collector that another has followed are not committed" {
	mb-collect -j j.mbj in.csv >frames
	mb-collect -j j.mbj in.csv >later
	line 'mb-commit dir:out <frames'
	has "$output" "a later mb-collect has started" "status 75"
	[ ! -e out ]
	line 'mb-commit dir:out <later'
	is "$output" "status 0"
}

@test "a batch whose number was passed over is refused" {
	mb-collect -j j.mbj --max-records 1 in.csv >frames
	awk '/"begin".*"batch":1/ { off = 1 } !off; /"end".*"batch":1/ { off = 0 }' frames >gap
	line 'mb-commit dir:out <gap'
	has "$output" "batch 2: a batch before it is not settled" "status 75"
	is "$(rows out)" 1,2
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$(rows out | xargs)" "1,2 3,4 5,6"
}

@test "a directory holds the batches of one journal" {
	line 'mb-collect -j 1.mbj in.csv | mb-commit dir:out'
	line 'mb-collect -j 2.mbj in.csv | mb-commit dir:out'
	has "$output" "dir:$PWD/out: belongs to another journal" "that was at $PWD/1.mbj" " 65"
}

@test "batches without a manifest are refused" {
	mkdir out
	echo mine >out/batch-000000007.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	has "$output" "dir:$PWD/out: has batches but no .mb-manifest" " 65"
	is "$(cat out/batch-000000007.csv)" mine
}

@test "a file that the manifest doesn't know is left alone" {
	line 'mb-collect -j j.mbj --once --max-records 2 in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	echo mine >out/batch-000000001.csv
	line 'mb-collect -j j.mbj --max-records 2 in.csv | mb-commit dir:out'
	has "$output" "batch-000000001.csv is there, but the manifest doesn't know it" " 65"
	is "$(cat out/batch-000000001.csv)" mine
	rm out/batch-000000001.csv
	line 'mb-collect -j j.mbj --max-records 2 in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(rows out | xargs)" "1,2 3,4 5,6"
}

@test "a consumer may take away any file but the newest" {
	mb-collect -j j.mbj --max-records 1 in.csv | mb-commit dir:out
	rm out/batch-00000000[01].csv
	printf '7,8\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	rm out/batch-000000003.csv
	printf '9,10\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	has "$output" "lacks batch 3" " 65"
}

@test "another target than the journal's is refused; --new-target changes it" {
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	printf '7,8\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:elsewhere'
	has "$output" "dir:$PWD/elsewhere: the journal commits to dir:$PWD/out; --new-target changes that" " 65"
	line 'mb-collect -j j.mbj in.csv | mb-commit --new-target dir:elsewhere'
	is "$output" "status 0 0"
	is "$(rows elsewhere)" 7,8
	printf '9,10\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:out'
	has "$output" " 65"
	line 'mb-collect -j j.mbj in.csv | mb-commit dir:elsewhere'
	is "$output" "status 0 0"
	is "$(rows elsewhere | xargs)" "7,8 9,10"
}

@test "sqlite: rows are appended, batch by batch, and dropped when they come again" {
	mb-collect -j j.mbj --max-records 2 in.csv >frames
	line 'mb-commit "sqlite:x.db#t" <frames'
	is "$output" "status 0"
	line 'mb-commit "sqlite:x.db#t" <frames'
	has "$output" "batch 1: is committed already; dropped" "status 0"
	is "$(sql x.db 'SELECT a, b FROM t' | xargs)" "1|2 3|4 5|6"
	printf '7,x\n' >>in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit "sqlite:x.db#t"'
	has "$output" "status 0 0"
	is "$(sql x.db 'SELECT count(*) FROM t')" 3
	has "$(sed 1d j.mbj.d/rejects/commit-000000002.ndjson)" '"data":"7,x\n"'
}

@test "sqlite: MERGE sums, takes the greater, keeps, replaces; null equals null" {
	printf 'k,s,m,l,f\n1,10,5,a,a\n,1,1,n,n\n1,5,7,b,b\n' >m.csv
	commit='mb-commit --merge-on k --merge s:sum,m:max,l:replace,f:keep "sqlite:x.db#t"'
	line "mb-collect -j j.mbj --max-records 2 m.csv | $commit"
	is "$output" "status 0 0"
	printf '1,1,1,c,c\n,2,0,o,o\n2,9,9,z,z\n' >>m.csv
	line "mb-collect -j j.mbj m.csv | $commit"
	is "$output" "status 0 0"
	is "$(sql x.db 'SELECT * FROM t ORDER BY k')" $'|3|1|o|n\n1|16|7|c|a\n2|9|9|z|z'
}

@test "sqlite: killed at any moment, the sums are right" {
	for i in {1..200}; do echo "$((i % 7)),$i"; done >body
	{ echo k,s; cat body; } >m.csv
	commit='mb-commit --merge-on k --merge s:sum "sqlite:x.db#t"'
	for i in {1..8}; do
		start "mb-collect -j j.mbj --max-records 10 m.csv | $commit"
		sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
		killed
	done
	line "mb-collect -j j.mbj --max-records 10 m.csv | $commit"
	has "$output" "status 0 0"
	is "$(sql x.db 'SELECT k, s FROM t ORDER BY k' | xargs)" \
		"$(awk -F, '{ s[$1] += $2 } END { for (k in s) print k "|" s[k] }' body | sort | xargs)"
}

@test "sqlite: a busy database is waited for as long as --retry-for says" {
	line 'mb-collect -j j.mbj in.csv | mb-commit "sqlite:x.db#t"'
	is "$output" "status 0 0"
	printf '7,8\n' >>in.csv
	start 'exec python3 -c "
import os, sqlite3, time
c = sqlite3.connect(\"x.db\", isolation_level=None)
c.execute(\"BEGIN IMMEDIATE\")
open(\"locked\", \"w\").close()
while not os.path.exists(\"go\"): time.sleep(0.05)
c.execute(\"ROLLBACK\")"'
	eventually test -e locked
	line 'mb-collect -j j.mbj in.csv | mb-commit --retry-for 300ms "sqlite:x.db#t"'
	has "$output" "batch 1: " " 75"
	is "$(states j.mbj)" "0 committed 1 failed"
	locker=$leader
	start 'mb-collect -j j.mbj in.csv | mb-commit "sqlite:x.db#t"'
	sleep 0.5
	is "$(sql -readonly x.db 'SELECT count(*) FROM t')" 3	# readers aren't blocked
	touch go
	finished "$locker"
	finished "$leader"
	is "$(sql x.db 'SELECT count(*) FROM t')" 4
}

@test "a signal lets the stream end it; a second one ends at once" {
	start 'mb-collect -j j.mbj -f -i 0 in.log | mb-commit dir:out'
	eventually settled j.mbj 1
	kill -INT "$(pid_of mb-commit)"
	echo 7 >>in.log
	eventually settled j.mbj 2
	pid=$(pid_of mb-commit)
	kill -INT "$pid"
	eventually gone "$pid"
	# And mb-collect notices, although nothing comes.
	finished "$leader" 130
	is "$(rows out | xargs)" "1 2 3 4 5 6 7"
}

@test "an idle mb-commit - notices that its reader has gone" {
	start 'mb-collect -j j.mbj -f -i 0 in.log | mb-commit - | head -n 1'
	finished "$leader"
	is "$(cat said)" 1
}

@test "a full disk stops the pipeline; with room again nothing is lost" {
	seq 200000 >big.log
	mkdir disk
	if mount -t tmpfs -o size=1m none disk 2>/dev/null; then
		line 'mb-collect -j j.mbj --max-bytes 300K big.log | mb-commit --retry-for 0 dir:disk/out'
		has "$output" "No space left on device" 75
		has "$(states j.mbj)" failed
		kept=$(ls disk/out | wc -l)
		[ "$kept" -ge 1 ]
		mount -o remount,size=10m disk
	else
		line 'ulimit -f 100; trap "" XFSZ
			mb-collect -j j.mbj --max-bytes 300K big.log | mb-commit --retry-for 0 dir:disk/out'
		has "$output" "File too large" 75
	fi
	line 'mb-collect -j j.mbj --max-bytes 300K big.log | mb-commit dir:disk/out'
	has "$output" "status 0 0"
	same_records big.log disk/out j.mbj
	is "$(ls -A disk/out | grep -c tmp)" 0
}

@test "a full disk under the journal and the spool" {
	mkdir disk
	mount -t tmpfs -o size=1m none disk 2>/dev/null ||
		{ echo "no mount: the fault loops have it"; return 0; }
	seq 300000 >big.log
	line 'cat big.log | mb-collect -j disk/j.mbj --stdin again -i 1h | mb-commit dir:out'
	has "$output" "No space left on device" 75
	mount -o remount,size=10m disk
	line 'cat big.log | mb-collect -j disk/j.mbj --stdin again -i 1h --max-records 50000 | mb-commit dir:out'
	has "$output" "status 0 0 0"
	same_records big.log out
	# The journal alone: no batch is lost for want of a line.
	umount disk
	mount -t tmpfs -o size=100k none disk
	seq 2000 >small.log
	line 'mb-collect -j disk/k.mbj --max-records 1 --retain off small.log | mb-commit dir:out2'
	has "$output" "No space left on device" 75
	mount -o remount,size=20m disk
	line 'mb-collect -j disk/k.mbj --max-records 100 small.log | mb-commit dir:out2'
	has "$output" "status 0 0"
	same_records small.log out2 disk/k.mbj
}

# Batches of two records; the second has a value that is no number.
bad_second() {
	printf 'k,v\na,1\nb,2\na,x\nb,3\na,4\nb,5\n' >in.csv
}

# One run of it: failing COMMIT-ARGS...
failing() {
	line "mb-collect -j j.mbj --max-records 2 in.csv |
		mb-agg -k k -a sum:v --on-bad fail | mb-commit $*"
}

@test "--park-after sets a batch aside once it has failed so often, over runs" {
	bad_second
	for target in dir:out 'sqlite:x.db#t'; do
		failing --park-after 2 "'$target'"
		has "$output" "batch 1: $PWD/in.csv: byte 12: v: not a number" " 65"
		has "$(states j.mbj)" "0 committed 1 failed"
		failing --park-after 2 "'$target'"
		has "$output" "batch 1: is parked: $PWD/in.csv: byte 12: v: not a number" " 65 65"
		is "$(states j.mbj)" "0 committed 1 parked 2 committed"
		failing --park-after 2 "'$target'"
		is "$output" "status 0 0 0"
		# It comes in when the cause is mended, once.
		for i in 1 2; do
			line "mb-replay -j j.mbj --failed | mb-agg -k k -a sum:v --on-bad skip |
				mb-commit '$target'"
			has "$output" "status 0 0 0"
		done
		is "$(states j.mbj)" "0 committed 1 committed 2 committed"
		rm -r j.mbj*
	done
	is "$(rows out | sort | xargs)" "a,1 a,4 b,2 b,3 b,5"
	is "$(sqlite3 x.db 'SELECT count(*), sum(v_sum) FROM t')" "5|15"
}

@test "a batch that the sink itself can't take is parked, too" {
	sqlite3 x.db 'CREATE TABLE t (line INTEGER NOT NULL)'
	printf '1\n2\nx\n4\n5\n6\n' >in.log
	line "mb-collect -j j.mbj --max-records 2 in.log |
		mb-commit --on-bad fail --park-after 1 'sqlite:x.db#t'"
	has "$output" "batch 1: is parked: x.db#t: record 1 of the batch: column line" " 65"
	is "$(states j.mbj)" "0 committed 1 parked 2 committed"
	is "$(sqlite3 x.db 'SELECT group_concat(line) FROM t')" "1,2,5,6"
	# A batch that is parked and fails again stays where it is.
	line "mb-replay -j j.mbj --failed | mb-commit --on-bad fail 'sqlite:x.db#t'"
	has "$output" "batch 1: x.db#t: record 1" " 65"
	is "$(states j.mbj)" "0 committed 1 parked 2 committed"
}

@test "with --ordered and --merge-on nothing is parked: later batches wait" {
	bad_second
	for how in --ordered "--merge-on k --merge v_sum:sum"; do
		for i in 1 2 3; do
			failing --park-after 1 $how "'sqlite:x.db#t'"
			has "$output" "batch 1: not parked, since later ones wait for it" " 65"
			has "$(states j.mbj)" "0 committed 1 failed"
		done
		rm -r j.mbj* x.db*
	done
}

@test "a full disk or a lock doesn't count as a failure of the batch" {
	printf '1\n2\n' >in.log
	sqlite3 x.db 'CREATE TABLE t (line TEXT)'
	start "sqlite3 x.db 'BEGIN IMMEDIATE' '.shell touch locked; sleep 1000'"
	eventually test -e locked
	line "mb-collect -j j.mbj in.log |
		mb-commit --park-after 1 --retry-for 10ms 'sqlite:x.db#t'"
	has "$output" "batch 0: x.db#t: database is locked" " 75"
	is "$(states j.mbj)" "0 failed"
	killed
	line "mb-collect -j j.mbj in.log | mb-commit --park-after 1 'sqlite:x.db#t'"
	is "$output" "status 0 0"
}

@test "a target or an option that can't be is refused before anything is read" {
	for args in foo:o dir: "--gzip sqlite:x.db#t" "--merge-on a dir:o"; do
		# shellcheck disable=SC2086 # words
		run mb-commit $args </dev/null
		[ "$status" -eq 64 ]
	done
	run mb-commit foo:o </dev/null
	[[ "$output" == "mb-commit: foo:o: not a target"* ]]
	[ ! -e o ] && [ ! -e x.db ]
}

@test "--plain: of streams that meet, each is there or says that it isn't" {
	for target in dir:o 'sqlite:x.db#t' delta:d; do
		rm -f done
		for i in 1 2 3 4 5 6; do
			if echo "$i" | mb-commit --plain "$target" 2>>err; then
				echo "$i" >>done
			else
				echo "$?" >>failed
			fi &
		done
		wait
		case $target in
		dir:*) cat o/*.txt ;;
		sqlite:*) sqlite3 x.db 'SELECT line FROM t' ;;
		delta:*) "$BATS_TEST_DIRNAME/../${MB_BUILD:-build}/tests/delta_dump" d |
			jq -r .line ;;
		esac | sort >got
		is "$(cat got)" "$(sort done)"
	done
	[ ! -e failed ] || {
		is "$(sort -u failed)" 75
		is "$(grep -c '^mb-commit: ' err)" "$(wc -l <failed)"
	}
}

@test "a target that can't be made is refused before a batch is begun" {
	mb-collect -j j.mbj in.csv >frames
	for target in dir:no/where/out delta:no/where/t 'sqlite:no/where/x.db#t' \
		'sqlite:x.db#mb_commits' 'sqlite:x.db#MB_POSITIONS' 'sqlite:x.db#sqlite_x'; do
		line "mb-commit '$target' <frames"
		has "$output" "mb-commit: " "status 64"
		[[ $output != *"batch 0"* ]]
	done
	is "$(states j.mbj)" "0 planned"
	line 'mb-commit dir:no/where/out <frames'
	has "$output" "dir:no/where/out: the directory above it isn't there"
	[ ! -e no ]
}

@test "a target that may not be written to is refused, and no batch has failed" {
	mkdir -m 755 ro ro/old
	mkdir -m 700 no
	sqlite3 ro/x.db 'CREATE TABLE t (a)'
	chmod 711 . .. ../.. ../../..
	mkdir -m 777 j
	mb-collect -j j/j.mbj in.csv >frames 2>/dev/null
	chmod -R a+rwX j frames
	for target in dir:no/x dir:ro dir:ro/x 'sqlite:no/x.db#t' 'sqlite:ro/x.db#t' \
		'sqlite:ro/y.db#t' delta:no/x delta:ro/old delta:ro/x; do
		line "setpriv --reuid 65534 --clear-groups mb-commit -j j/j.mbj '$target' <frames"
		has "$output" "mb-commit: " ": Permission denied" "status 64"
		is "$(states j/j.mbj)" "0 planned"
	done
	line 'mb-commit dir:ro <frames'
	is "$output" "status 0"
}

@test "--delete-when deletes keys, in the order of the rows" {
	printf '%s\n' op,id,v i,1,a i,2,b d,1, i,3,c d,9, u,2,bb d,3,x i,3,again i,,null d,, >in.csv
	line "mb-collect -j j.mbj in.csv |
		mb-commit --merge-on id --delete-when \"op = 'd'\" 'sqlite:x.db#t'"
	is "$output" "status 0 0"
	is "$(sqlite3 x.db 'SELECT op, id, v FROM t ORDER BY id' | xargs)" "u|2|bb i|3|again"
	# Of what is there; a record that is bad deletes nothing.
	printf '%s\n' d,2, d,3,x,y i,4,d >>in.csv
	line "mb-collect -j j.mbj in.csv |
		mb-commit --merge-on id --delete-when \"op = 'd'\" 'sqlite:x.db#t'"
	has "$output" "record 2: 4 fields, the header has 3" "status 0 0"
	is "$(sqlite3 x.db 'SELECT op, id, v FROM t ORDER BY id' | xargs)" "i|3|again i|4|d"
	printf '%s\n' '{"id":1,"m":{"del":true}}' '{"id":2,"m":{"del":false}}' >in.ndjson
	line "mb-collect -j n.mbj in.ndjson |
		mb-commit --merge-on id --delete-when 'm.del = \"true\"' 'sqlite:n.db#t'"
	is "$(sqlite3 n.db 'SELECT id FROM t')" 2
}

@test "--delete-when: what is wrong with it is said, and nothing is written" {
	printf '%s\n' op,id i,1 >in.csv
	line 'mb-collect -j j.mbj in.csv | mb-commit --delete-when x=1 sqlite:x.db#t'
	has "$output" "--delete-when: needs --merge-on" " 64"
	line 'mb-collect -j j.mbj in.csv | mb-commit --merge-on id --delete-when "op=" sqlite:x.db#t'
	has "$output" "--delete-when: byte " " 64"
	line 'mb-collect -j j.mbj in.csv | mb-commit --merge-on id --delete-when "zz=1" sqlite:x.db#t'
	has "$output" '--delete-when: no field "zz"; the header has op, id' " 64"
	is "$(sqlite3 x.db .tables)" ""
}

@test "a record that doesn't fit is never left out in silence" {
	printf 'a,b\n1,x\ny,2\n3\n' >in.csv
	table="--schema a:int,b:text sqlite:x.db#"
	line "mb-collect -j j.mbj in.csv | mb-commit ${table}t"
	is "$output" 'mb-commit: batch 0: 2 bad records rejected; the first: record 2: column a: not a number: "y"
status 0 0'
	is "$(grep -c reason j.mbj.d/rejects/commit-000000000.ndjson)" 2
	line "mb-collect -j k.mbj in.csv | mb-commit --on-bad skip ${table}u"
	has "$output" "mb-commit: batch 0: 2 bad records skipped; the first: record 2: " "status 0 0"
	[ ! -e k.mbj.d/rejects/commit-000000000.ndjson ]
	# There is no journal to keep it beside.
	line "mb-commit -F csv --plain ${table}v <in.csv"
	has "$output" "mb-commit: 2 bad records skipped; the first: record 2: " "status 0"
	is "$(sqlite3 x.db 'SELECT * FROM t, u, v')" '1|x|1|x|1|x'
}

@test "--redo of merged batches: a line that was killed can be started again" {
	local merge="mb-commit --redo --merge-on k --merge v:sum 'sqlite:x.db#t'"

	printf '%s\n' k,v a,1 b,2 a,3 c,4 b,5 >in.csv
	line "mb-collect -j j.mbj --max-records 2 in.csv | ${merge/--redo /}"
	is "$output" "status 0 0"
	rm x.db*
	line "mb-replay -j j.mbj 0 | $merge"
	line "mb-replay -j j.mbj 0-2 | $merge"
	is "$output" $'mb-commit: batch 0: is there already; kept\nstatus 0 0'
	is "$(sqlite3 x.db 'SELECT k, v FROM t ORDER BY k' | xargs)" "a|4 b|7 c|4"
	# Nothing is missing any more.
	line "mb-replay -j j.mbj 0-2 | $merge"
	has "$output" "batch 0: " "what was merged by sum" " 64"
	line "mb-collect -j j.mbj in.csv | ${merge/--redo /}"
	is "$output" "status 0 0"
}
