#!/usr/bin/env bats
# Compressed sources: scenario 25, and what a gzip file may do to us.

load helpers

set_up() {
	seq 100000 >expected
}

# One run: pipeline JOURNAL TARGET FILE...
pipeline() {
	line "mb-collect -j $1 --max-records 10000 ${*:3} | mb-commit $2"
}

# flip FILE OFFSET: two bytes of it
flip() {
	printf '\xff\x5a' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "25 a gzip file of several members, read and killed at random, is read once" {
	RANDOM=${MB_SEED-$RANDOM}
	echo "seed $RANDOM"
	{ head -n 40000 expected | gzip; : | gzip; tail -n +40001 expected | gzip -1; } >in.log.gz
	for ((i = 0; i < 15; i++)); do
		start 'mb-collect -j j.mbj --max-records 1000 in.log.gz | mb-commit dir:out'
		sleep "0.0$((RANDOM % 7))"
		killed
	done
	line 'mb-collect -j j.mbj --max-records 1000 in.log.gz | mb-commit dir:out'
	has "$output" "status 0 0"
	same_records expected out j.mbj
	is "$(rows out | cksum)" "$(cksum <expected)"
	# Offsets are those of what it holds.
	is "$(mb-replay -j j.mbj --json | jq -s '.[-1].ranges[-1].end')" "$(stat -c %s expected)"
}

@test "25 a gzip file that is cut off: whole records are taken, it is said, and it goes on when it grows" {
	gzip -c expected >whole.gz
	size=$(stat -c %s whole.gz)
	for part in 3 2; do
		head -c $((size / part)) whole.gz >in.log.gz
		pipeline j.mbj dir:out in.log.gz
		has "$output" "in.log.gz: at byte $((size / part)): gzip: the file ends in the middle of its data" "status 75 75"
		# Whole records, and most of what is there.
		n=$(rows out | wc -l)
		[ "$n" -gt $((100000 / part / 2)) ] && [ "$n" -lt 100000 ]
		is "$(rows out)" "$(head -n "$n" expected)"
		# --final makes no record of half a line.
		pipeline j.mbj dir:out --final in.log.gz
		has "$output" "status 75 75"
		is "$(rows out | wc -l)" "$n"
	done
	cp whole.gz in.log.gz
	pipeline j.mbj dir:out in.log.gz
	is "$output" "status 0 0"
	same_records expected out j.mbj
	is "$(rows out | cksum)" "$(cksum <expected)"
}

@test "a damaged gzip file: what stands before is taken, 65 with the byte; mended it goes on" {
	gzip -c expected >whole.gz
	cp whole.gz in.log.gz
	flip in.log.gz 150000
	pipeline j.mbj dir:out in.log.gz
	[[ $output =~ in.log.gz:\ at\ byte\ [0-9]+:\ gzip:\ .*status\ 65\ 65 ]]
	n=$(rows out | wc -l)
	# zlib may notice late, at the checksum behind all of it.
	[ "$n" -gt 40000 ] || fail "$n"
	head -n 40000 expected | cmp - <(rows out | head -n 40000)
	# A batch that was planned never changes, even if its bytes were wrong.
	cp whole.gz in2.log.gz
	pipeline k.mbj dir:out2 in2.log.gz
	is "$output" "status 0 0"
	same_records expected out2 k.mbj
	# Damage behind what was planned, then mended in place.
	head -n 50000 expected | gzip >in3.log.gz
	at=$(($(stat -c %s in3.log.gz) + 2))
	tail -n +50001 expected | gzip >>in3.log.gz
	cp in3.log.gz good.gz
	flip in3.log.gz $at
	pipeline l.mbj dir:out3 in3.log.gz
	has "$output" "in3.log.gz: at byte" "gzip: unknown compression method" "status 65 65"
	is "$(rows out3)" "$(head -n 50000 expected)"
	cp good.gz in3.log.gz
	pipeline l.mbj dir:out3 in3.log.gz
	is "$output" "status 0 0"
	same_records expected out3 l.mbj
}

@test "a gzip file that grows is followed, member by member and within one" {
	: >in.log.gz
	start 'mb-collect -j j.mbj -f -i 0 in.log.gz | mb-commit dir:out'
	for part in 1 2 3 4; do
		split -n "l/$part/4" expected | gzip >>in.log.gz
		eventually settled j.mbj "$part"
	done
	# As a program does that flushes now and then.
	python3 - <<-'END'
		import time, zlib
		z = zlib.compressobj(6, zlib.DEFLATED, 31)
		with open("in.log.gz", "ab", 0) as f:
		    for i in range(20):
		        f.write(z.compress(b"more %d\n" % i) + z.flush(zlib.Z_SYNC_FLUSH))
		        time.sleep(0.02)
		    f.write(z.flush())
	END
	seq -f 'more %g' 0 19 >>expected
	all() { [ "$(rows out | wc -l)" = 100020 ]; }
	eventually all
	kill -TERM "$(pid_of mb-collect)"
	finished
	same_records expected out j.mbj
	silent
}

@test "a file is gzip by what is in it, not by its name; the header is in it, too" {
	printf 'a,b\n1,2\n3,4\n' >plain.csv.gz
	gzip -c plain.csv.gz >packed.csv
	for f in plain.csv.gz packed.csv; do
		line "mb-collect -j $f.mbj $f | mb-agg -a sum:a,sum:b | mb-commit -"
		is "$output" $'a_sum,b_sum\n4,6\nstatus 0 0 0'
	done
	# And standard input, if it is a file.
	line 'mb-collect -j s.mbj -F csv <packed.csv | mb-commit -'
	has "$output" $'a,b\n1,2\n3,4' "status 0 0"
	# A pipe isn't.
	line 'cat packed.csv | mb-collect -j p.mbj -F csv | mb-commit -'
	has "$output" "-: is compressed: put zcat in front" "status 0 65 65"
}

@test "the same file, compressed in its place or more tightly, goes on where it was" {
	head -n 50000 expected >in.log
	pipeline j.mbj dir:out in.log
	is "$output" "status 0 0"
	gzip -1 -c expected >in.log
	line 'mb-collect -j j.mbj --max-records 10000 --once in.log | mb-commit dir:out'
	is "$output" "status 0 0"
	gzip -9 -c expected >in.log
	pipeline j.mbj dir:out in.log
	is "$output" "status 0 0"
	same_records expected out j.mbj
}

@test "deep inside: nothing before it is decompressed, and a lost or damaged index is made anew" {
	seq -f '%g is a line of some length' 1000000 >expected
	gzip -1 -c expected >in.log.gz
	line 'mb-collect -j j.mbj --max-bytes 4M in.log.gz | mb-commit dir:out'
	is "$output" "status 0 0"
	same_records expected out j.mbj
	# The proof: bytes before it are destroyed (but the head, which says
	# which file it is), and the last batches are still there.
	last=$(($(mb-replay -j j.mbj --json | wc -l) - 1))
	cp in.log.gz good
	dd if=/dev/zero of=in.log.gz bs=1000 seek=5 count=1000 conv=notrunc status=none
	line "mb-replay -j j.mbj --verify $((last - 1)) $last"
	is "$output" "$((last - 1)) ok
$last ok
status 0"
	# Without the index the zeros are in the way.
	cp -r j.mbj.d/gz index
	rm -r j.mbj.d/gz
	line "mb-replay -j j.mbj --verify $last"
	has "$output" "$last gone: $PWD/in.log.gz: bytes " ": at byte "
	cp good in.log.gz
	for damage in cut flip foreign gone; do
		rm -rf j.mbj.d/gz
		cp -r index j.mbj.d/gz
		f=$(echo j.mbj.d/gz/*)
		case $damage in
		cut) truncate -s 100000 "$f" ;;
		flip) flip "$f" 70000 ;;
		foreign) sed -i '1s/"journal":"../"journal":"xx/' "$f" ;;
		gone) rm "$f" ;;
		esac
		line 'mb-replay -j j.mbj --verify | grep -vc ok'
		has "$output" 0
	done
}

@test "a gzip bomb is one long line: rejected, with little memory" {
	{ echo before; head -c 300M /dev/zero; echo; echo after; } | gzip >bomb.log.gz
	[ "$(stat -c %s bomb.log.gz)" -lt 400000 ]
	ulimit=
	[[ ${MB_BUILD-} == *san* ]] || ulimit='ulimit -v 200000;'
	line "$ulimit mb-collect -j j.mbj bomb.log.gz | mb-commit dir:out"
	has "$output" "bomb.log.gz: byte 7: longer than the record limit" "status 0 0"
	is "$(rows out)" "before
after"
	has "$(cat j.mbj.d/rejects/collect-*)" '"length":314572801'
}
