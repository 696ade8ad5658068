#!/usr/bin/env bats
# mb-commit --partition-by into dir:, a directory for each batch.

load helpers

set_up() {
	printf 'a,b\n1,2\n3,4\n5,6\n' >in.csv
}

# What is in the files below a directory: NAME: LINE LINE ...
files_of() { # DIR
	(cd "$1" && find . -name 'part.*' | LC_ALL=C sort | while read -r f; do
		case $f in
		*.gz) echo "${f#./}: $(gzip -dc "$f" | xargs -d '\n')" ;;
		*) echo "${f#./}: $(xargs -d '\n' <"$f")" ;;
		esac
	done)
}

make_days() {
	cat >days.csv <<-'END'
		day,city,n
		2026-11-25,Köln,1
		2026-11-25,a/b=c,2
		2026-11-26,,3
		2026-11-25,"New ""York",4
		2026-11-25,Köln,5
	END
}

@test "a directory for each batch, as Hive has it" {
	make_days
	line 'mb-collect -j j.mbj --max-records 3 days.csv | mb-commit --partition-by day,city dir:out'
	is "$output" "status 0 0"
	is "$(files_of out)" 'batch=000000000/day=2026-11-25/city=Köln/part.csv: n 1
batch=000000000/day=2026-11-25/city=a%2Fb%3Dc/part.csv: n 2
batch=000000000/day=2026-11-26/city=__HIVE_DEFAULT_PARTITION__/part.csv: n 3
batch=000000001/day=2026-11-25/city=Köln/part.csv: n 5
batch=000000001/day=2026-11-25/city=New%20%22York/part.csv: n 4'
	is "$(ls -A out | xargs)" ".mb-manifest batch=000000000 batch=000000001"
	line 'mb-replay -j j.mbj 0-1 | mb-commit --partition-by day,city dir:out'
	has "$output" "batch 0: is committed already" "status 0 0"
	# Some in this way, some in that: a batch is there once.
	printf '%s\n' 2026-11-27,x,6 >>days.csv
	line 'mb-collect -j j.mbj days.csv | mb-commit dir:out'
	is "$output" "status 0 0"
	is "$(cat out/batch-000000002.csv)" $'day,city,n\n2026-11-27,x,6'
}

@test "rows of ndjson keep their own fields; formats; positions" {
	printf '%s\n' '{"p":1,"a":"x"}' '{"a":2,"b":{"c":[1]}}' '{"p":null,"a":3}' \
		'{"p":"1","a":4}' >in.ndjson
	line 'mb-collect -j 1.mbj in.ndjson | mb-commit --partition-by p dir:one'
	is "$output" "status 0 0"
	is "$(files_of one)" 'batch=000000000/p=1/part.ndjson: {"a":"x"} {"a":4}
batch=000000000/p=__HIVE_DEFAULT_PARTITION__/part.ndjson: {"a":2,"b":{"c":[1]}} {"a":3}'
	make_days
	line 'mb-collect -j 2.mbj days.csv | mb-commit --gzip -o ndjson --partition-by 2 dir:two'
	is "$output" "status 0 0"
	is "$(files_of two | head -n 1)" 'batch=000000000/city=Köln/part.ndjson.gz: {"day":"2026-11-25","n":1} {"day":"2026-11-25","n":5}'
	line 'mb-collect -j 3.mbj --no-header in.csv | mb-commit --partition-by 2 dir:three'
	is "$output" "status 0 0"
	is "$(files_of three | head -n 1)" 'batch=000000000/2=2/part.csv: 1'
	line 'mb-collect -j 4.mbj in.ndjson | mb-commit -o csv --partition-by p dir:four'
	has "$output" "status 0 0"
	is "$(files_of four)" 'batch=000000000/p=1/part.csv: a x 4
batch=000000000/p=__HIVE_DEFAULT_PARTITION__/part.csv: a 3'
	is "$(jq -r 'select(.reason) | .reason' 4.mbj.d/rejects/*)" \
		"a key that the first record doesn't have: b"
}

@test "what can't be is said, and nothing is written" {
	make_days
	mb-collect -j j.mbj days.csv >frames
	for wrong in nope:'no field "nope"; there are: day, city, n' \
		day,city,n:'no other field is left' day,day:'"day" twice' 9:'no field "9"'; do
		line "mb-commit --partition-by ${wrong%%:*} dir:out <frames"
		has "$output" "--partition-by: ${wrong#*:}" "status 64"
		is "$(ls out 2>/dev/null)" ""
	done
	for target in 'sqlite:o.db#t' -; do
		line "mb-commit --partition-by day $target <frames"
		has "$output" "--partition-by: not for" "status 64"
	done
	# A name that no file system takes.
	long=$(printf 'x%.0s' {1..250})
	printf 'k,v\n%s,1\n%sxxxx,2\ny,3\n' "$long" "$long" >long.csv
	line 'mb-collect -j k.mbj long.csv | mb-commit --partition-by k dir:long'
	has "$output" "batch 0: 1 bad record rejected" "status 0 0"
	is "$(files_of long | cut -d: -f2 | xargs)" "v 1 v 3"
	has "$(cat k.mbj.d/rejects/commit-*)" "a partition's value that is too long" '"record":2'
	line 'mb-collect -j l.mbj long.csv | mb-commit --on-bad fail --partition-by k dir:fail'
	has "$output" "record 2: a partition's value that is too long" " 65"
}

@test "more partitions than descriptors, the same bytes each time" {
	seq 2000 | awk 'BEGIN { print "k,v" } { print $1 % 700 "," $1 }' >many.csv
	mb-collect -j j.mbj many.csv >frames
	line 'ulimit -n 20; mb-commit --partition-by k dir:out <frames'
	is "$output" "status 0"
	is "$(find out -name part.csv | wc -l)" 700
	is "$(cat out/batch*/k=7/part.csv | xargs)" "v 7 707 1407"
	line 'mb-replay -j j.mbj 0 | mb-commit --partition-by k dir:copy'
	is "$output" "status 0 0"
	diff -r out/batch=000000000 copy/batch=000000000
}

@test "--redo replaces a directory as a whole; --adopt goes on" {
	make_days
	mb-collect -j j.mbj --max-records 3 days.csv | mb-commit --partition-by day,city dir:out
	files_of out >before
	rm -r out/batch=000000000/day=2026-11-26
	echo junk >out/batch=000000000/junk
	line 'mb-replay -j j.mbj 0 | mb-commit --redo --partition-by day,city dir:out'
	is "$output" "status 0 0"
	files_of out | diff before -
	[ ! -e out/batch=000000000/junk ]
	rm -r out/batch=000000000
	line 'mb-replay -j j.mbj 0 | mb-commit --redo --partition-by day,city dir:out'
	is "$output" "status 0 0"
	files_of out | diff before -
	line 'mb-replay -j j.mbj 0 | mb-commit --redo dir:out'
	has "$output" "the batch is there as batch=000000000, not batch-000000000.csv" " 64"
	# A batch that has no rows any more is an empty directory.
	line "mb-replay -j j.mbj 0 | grep -a \$'^\\036' | mb-commit --redo --partition-by day,city dir:out"
	has "$output" "status 0 0 0"
	is "$(ls out/batch=000000000)" ""
	rm j.mbj
	echo 2026-11-27,x,6 >>days.csv
	line 'mb-collect -j j.mbj --adopt dir:out days.csv | mb-commit --partition-by day,city dir:out'
	has "$output" "status 0 0"
	is "$(files_of out | tail -n 1)" "batch=000000002/day=2026-11-27/city=x/part.csv: n 6"
}

@test "killed before any durable call, a batch is there whole or not" {
	so=$BATS_TEST_DIRNAME/../build/tests/fault.so
	[ -e "$so" ]
	make_days
	mb-collect -j r.mbj --max-records 3 days.csv | mb-commit --partition-by day,city dir:want
	files_of want >want.files
	n=1
	while :; do
		rm -rf j.mbj* out fired
		mb-collect -j j.mbj --max-records 3 days.csv >frames 2>/dev/null
		env LD_PRELOAD="$so" ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
			MB_FAULT_REPORT=fired MB_FAULT_MODE=die MB_FAULT_AT=$n \
			mb-commit --partition-by day,city dir:out <frames >/dev/null 2>&1 || true
		mkdir -p out
		files_of out >there
		for batch in 0 1; do
			grep -s "^batch=00000000$batch/" there >part || continue
			grep "^batch=00000000$batch/" want.files | cmp - part
		done
		grep -q ^fired fired || break
		line 'mb-collect -j j.mbj --max-records 3 days.csv | mb-commit --partition-by day,city dir:out'
		has "$output" "status 0 0"
		files_of out | cmp - want.files
		is "$(ls -A out | xargs)" ".mb-manifest batch=000000000 batch=000000001"
		n=$((n + 3))
	done
	[ $n -gt 15 ]
}
