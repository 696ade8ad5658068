#!/usr/bin/env bats
# The manual: that its pages are well made, say what the tools say, and that
# what they show works.

tools="mb-collect mb-agg mb-commit mb-replay"

setup() {
	cd "$BATS_TEST_TMPDIR"
	top=$BATS_TEST_DIRNAME/..
	manual=$BATS_TEST_DIRNAME/manual
	unset MB_JOURNAL
}

# Options as in ../shared/cli.md, those of this piece of work; "=" takes an
# argument.  What every tool has is in `common`.
common='-v
--progress=
-h,--help
-V,--version'

options_of() { # TOOL
	case $1 in
	mb-collect)
		cat <<-'END'
		-j,--journal=
		-f,--follow
		-i,--interval=
		--max-bytes=
		--max-records=
		--once
		--final
		--record-limit=
		--stdin=
		--retain=
		--wait=
		--timeout=
		--max-retries=
		--park-after=
		--rotate-wait=
		--pin
		--strict
		--shared
		--adopt=
		-F,--format=
		-d,--delimiter=
		--no-header
		END
		;;
	mb-agg)
		cat <<-'END'
		-k,--key=
		-a,--agg=
		--where=
		--stamp
		--sort
		--on-bad=
		--rejects=
		-T,--threads=
		-j,--journal=
		-F,--format=
		-o,--output=
		-d,--delimiter=
		--no-header
		--null=
		--plain
		END
		;;
	mb-commit)
		cat <<-'END'
		-j,--journal=
		-o,--output=
		--gzip
		--merge-on=
		--merge=
		--schema=
		--evolve
		--codec=
		--compact-to=
		--vacuum
		--partition-by=
		--dry-run
		--on-bad=
		--retry-for=
		--plain
		--new-target
		-F,--format=
		-d,--delimiter=
		--no-header
		--null=
		--delete-when=
		--park-after=
		--ordered
		--redo
		END
		;;
	mb-replay)
		cat <<-'END'
		-j,--journal=
		--json
		--failed
		--show=
		--verify
		--plain
		--shared
		--park=
		--unpark=
		--requeue=
		--prune
		--repair
		--yes
		END
		;;
	esac
	echo "$common"
}

# Options of cli.md that later pieces of work bring.
later_options() { # TOOL
	case $1 in
	mb-collect) echo "ticks" ;;
	mb-agg) echo "running mode window session time time-format tz watermark" \
		"idle-timeout flush compat dedup within lookup exact partial" \
		"combine state state-reset state-memory recompute" ;;
	esac
}

# The files that the examples read.
make_inputs() {
	printf '%s\n' path,status,bytes /a,200,5120 /b.png,404,0 /a,200,700 \
		/c,500,x /d,304 /e,200,1500 >access.csv
	mkdir -p logs
	printf 'path,status,bytes\n/a,200,1\n' >logs/a.csv
	printf 'path,status,bytes\n/b,200,2\n/c,404,3\n' >logs/b.csv
	printf 'path,status,bytes\n/a,200,1\n/b,200,2\n' | gzip >old.csv.gz
}

# Every example of a page in turn, as a user would type it.  One that follows
# a file is asked to end after its first batch.
run_examples() { # FILE
	n=0
	"$manual" examples "$1" >examples
	while IFS= read -r -d '' command; do
		echo "$ $command"
		n=$((n + 1))
		timeout 200 bash -eo pipefail -c '
			case $1 in
			*" -f "*) mb-collect() { # -j JOURNAL ...
				command mb-collect "$@" &
				until grep -q "\"plan\"" "$2" 2>/dev/null; do
					sleep 0.1
				done
				kill -s TERM $!
				wait $!
			} ;;
			esac
			eval "$1"' bash "$command" </dev/null
	done <examples
	echo "$n examples"
	[ "$n" -gt 0 ]
}

@test "mandoc -T lint finds nothing in any page" {
	ls "$top"/man/*.[157]
	for page in "$top"/man/*.[157]; do
		# Which other pages are installed here is no fault of a page.
		run bash -c 'mandoc -T lint "$1" 2>/dev/null |
			grep -v "STYLE: referenced manual not found"' sh "$page"
		echo "$output"
		[ -z "$output" ]
	done
}

@test "every page is named in the Makefile's rules, and every name is a page" {
	for page in $tools; do
		[ -e "$top/man/$page.1" ]
	done
	[ "$(cd "$top/man" && ls *.[57] | tr '\n' ' ')" = \
		"mb-delta.5 mb-frame.5 mb-journal.5 mb.7 " ]
}

@test "--help has the options of cli.md and no others" {
	for tool in $tools; do
		echo "$tool"
		diff <(options_of $tool | sort) <("$manual" help $tool | sort)
	done
}

@test "a page has the options of --help and no others" {
	for tool in $tools; do
		echo "$tool"
		diff <("$manual" help $tool | sort) <("$manual" page $tool | sort)
	done
}

@test "options of later versions are refused" {
	for tool in $tools; do
		for option in $(later_options $tool); do
			run "$tool" "--$option"
			echo "$tool --$option: $output"
			[ "$status" -eq 64 ]
			[ "${#lines[@]}" -eq 1 ]
		done </dev/null
	done
}

@test "the defaults in --help are those of the page" {
	for tool in $tools; do
		echo "$tool"
		diff <("$manual" defaults-help $tool | sort) \
			<("$manual" defaults-page $tool | sort)
	done
}

@test "--help fits 80 columns, names the page, and asks for no journal" {
	for tool in $tools; do
		run "$tool" --help
		[ "$status" -eq 0 ]
		for line in "${lines[@]}"; do
			[ "${#line}" -le 80 ]
		done
		[ "${lines[0]%% [-\[]*}" = "usage: $tool" ]
		[[ "$output" == *"man $tool; where to start: man mb" ]]
		[ "$("$tool" -h)" = "$output" ]
	done
}

@test "--help into head says nothing" {
	for tool in $tools; do
		run bash -o pipefail -c "$tool --help | head -1"
		echo "$output"
		[ "${#lines[@]}" -eq 1 ]
	done
}

@test "--version prints one line, the same in all tools" {
	for tool in $tools; do
		run "$tool" --version
		[ "$status" -eq 0 ]
		[[ "$output" =~ ^$tool\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
		[ "$("$tool" -V)" = "$output" ]
		echo "${output#* }"
	done >versions
	[ "$(sort -u versions | wc -l)" -eq 1 ]
}

@test "a typo in an option is status 64 and one line" {
	for tool in $tools; do
		for typo in --hepl --journl=x -Z --progress=jason; do
			run "$tool" $typo </dev/null
			echo "$tool $typo: $status: $output"
			[ "$status" -eq 64 ]
			[ "${#lines[@]}" -eq 1 ]
			[[ "$output" == "$tool: "* ]]
		done
	done
}

@test "the examples of mb(7) run" {
	make_inputs
	run_examples "$top/man/mb.7"
}

@test "the examples of mb-collect(1) run" {
	make_inputs
	run_examples "$top/man/mb-collect.1"
	[ "$(sqlite3 web.db 'SELECT sum(count) FROM traffic')" -ge 3 ]
	[ "$(zcat archive/*.gz | grep -c '^/')" -eq 3 ]
	[ "$(cat old/*.csv | grep -c '^/')" -eq 2 ]
}

@test "the examples of mb-agg(1) run" {
	make_inputs
	run_examples "$top/man/mb-agg.1"
}

@test "the examples of mb-commit(1) run" {
	make_inputs
	run_examples "$top/man/mb-commit.1"
	grep -q '{"path":"/a","status":200,"bytes":5120}' raw/*.ndjson
	[ "$(sqlite3 sums.db 'SELECT "count" FROM totals WHERE status = 200')" \
		-ge 2 ]
	[ "$(sqlite3 last.db "SELECT bytes FROM pages WHERE path = '/a'")" -eq 700 ]
}

@test "the examples of mb-replay(1) run" {
	make_inputs
	mb-collect -j web.mbj access.csv |
		mb-agg --stamp -k status -a count,sum:bytes |
		mb-commit 'sqlite:web.db#traffic'
	before=$(sqlite3 web.db 'SELECT * FROM traffic')
	run_examples "$top/man/mb-replay.1"
	[ "$(sqlite3 web.db 'SELECT * FROM traffic')" = "$before" ]
}

@test "the examples of mb-frame(5) and mb-journal(5) run" {
	make_inputs
	run_examples "$top/man/mb-frame.5"
	grep -q /a requests/*.csv
	! grep -q png requests/*.csv requests2/*.csv
	cmp requests/*.csv requests2/*.csv
	rm -rf web.mbj*
	run_examples "$top/man/mb-journal.5"
}

@test "README's examples run" {
	make_inputs
	sed '/^scripts\//d' "$top/README.md" >README.md
	run_examples "$PWD/README.md"
	[ "$(sqlite3 web.db 'SELECT sum(count) FROM traffic')" -ge 3 ]
}

@test "README begins with the two commands, and they are there" {
	[ "$(grep -m 2 -o '^scripts/[a-z]*' "$top/README.md" | tr '\n' ' ')" = \
		"scripts/demo scripts/check " ]
	[ "$(grep -n -m 1 '^scripts/demo' "$top/README.md" | cut -d: -f1)" -le 5 ]
	[ -x "$top/scripts/demo" ]
	[ -x "$top/scripts/check" ]
}

@test "README names the folders that there are, and fits 80 columns" {
	diff <(grep -o '^| `[a-z/]*/`' "$top/README.md" | tr -d '|` ' | sort) \
		<(cd "$top" && ls -d cmd/ lib/*/ man/ tests/ scripts/ | sort)
	# Tables and the crontab, which wants one line, may be wider.
	run awk 'length > 80 && !/^\|/ && !/^ *\*\/5/' "$top/README.md"
	[ -z "$output" ]
}

@test "README installs what the Makefile asks for" {
	for package in $(grep -o 'lib[a-z0-9]*-dev\|zlib1g-dev' \
		"$top/scripts/rules.mk" | sort -u); do
		[ "$package" = libc6-dev ] || grep -q "$package" "$top/README.md"
	done
}

@test "README: killed in the middle and started again, nothing lost or twice" {
	seq 1 5000 | awk 'BEGIN { print "n,k" } { print $1 "," $1 % 7 }' >in.csv
	line='mb-collect -j k.mbj --max-records 100 in.csv |
		mb-agg -k k -a count,sum:n |
		{ echo $BASHPID >pid; exec mb-commit "sqlite:k.db#t"; }'
	for after in 0.02 0.05 0.1; do
		rm -f pid
		bash -c "$line" 2>/dev/null &
		sleep $after
		[ ! -s pid ] || kill -9 "$(cat pid)" 2>/dev/null || :
		wait $! || :
	done
	bash -c "$line"
	[ "$(sqlite3 k.db 'SELECT sum(count), sum(n_sum) FROM t')" = \
		"5000|12502500" ]
	run mb-replay -j k.mbj --verify
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 50 ]
}

@test "README: what was lost, copied or restored is refused" {
	printf 'a\nb\n' >in.txt
	collect() { mb-collect -j r.mbj in.txt | mb-commit dir:out; }
	collect
	cp -r r.mbj r.mbj.d r.d-old 2>/dev/null || { mkdir r.d-old &&
		cp -r r.mbj r.mbj.d r.d-old; }
	cp -r out out-old
	echo c >>in.txt
	collect

	# The target of an hour ago.
	mv out out-new && cp -r out-old out
	echo d >>in.txt
	run collect
	[ "$status" -eq 65 ]
	rm -rf out && mv out-new out

	# The journal of an hour ago.
	mkdir new && mv r.mbj r.mbj.d new && cp -r r.d-old/* .
	run collect
	[ "$status" -eq 65 ]
	rm -rf r.mbj r.mbj.d && mv new/* .

	# No journal.
	mv r.mbj r.mbj-gone
	run collect
	[ "$status" -ne 0 ]
	mv r.mbj.d r.mbj.d-gone
	run collect
	[ "$status" -eq 65 ]
	rm -rf r.mbj r.mbj.d && mv r.mbj-gone r.mbj && mv r.mbj.d-gone r.mbj.d

	collect
	[ "$(sort out/*.txt | tr -d '\n')" = abcd ]
}

@test "README: a filter that forgets the frames commits nothing" {
	printf 'path,status,bytes\n/a,200,1\n/b,404,2\n' >in.csv
	run bash -c "mb-collect -j f.mbj in.csv | grep '^/' | mb-commit dir:out"
	[ "$status" -eq 65 ]
	run bash -c "ls out/batch-*"
	[ "$status" -ne 0 ]
}

@test "README: numbers are exact" {
	run bash -c "yes 0.1 | head -n 10 | mb-agg -a sum:line"
	[ "$output" = "line_sum
1.0" ]
}

@test "the lines that the section 5 pages show have their checksums" {
	"$manual" folded "$top/man/mb-frame.5" | "$manual" crc
	"$manual" folded "$top/man/mb-journal.5" | "$manual" crc
}

# A journal with most of what there is: two sources, a pipe, rejects, a batch
# that failed, a torn tail, a checkpoint.
make_journal() {
	printf 'path,status\n/a,200\n/b,"4\n/c,x\n' >in.csv
	mb-collect -j all.mbj --final --record-limit 4K in.csv >frames.1
	mb-agg -k path -a sum:status <frames.1 >frames.2
	run mb-commit --merge-on path 'sqlite:all.db#t' <frames.2
	[ "$status" -eq 64 ]
	mb-collect -j all.mbj in.csv | mb-agg -k path -a sum:status |
		mb-commit --merge-on path --merge status_sum:sum 'sqlite:all.db#t'
	printf '{"mb":"pl' >>all.mbj
	printf 'path,status\n/d,200\n/e,404' |
		mb-collect -j all.mbj -F csv -i 0 >frames.3
	mb-agg -k path -a sum:status <frames.3 | mb-commit --merge-on path \
		--merge status_sum:sum 'sqlite:all.db#t'
	# Nobody commits these, and the journal grows beyond a checkpoint.
	seq 1 1200 >many.txt
	mb-collect -j many.mbj --max-records 1 --retain 10 many.txt |
		mb-commit dir:many
}

@test "every member of every line is in the page of its format" {
	make_journal
	for file in frames.[123] all.mbj many.mbj many/.mb-manifest \
		all.mbj.d/lock all.mbj.d/spool/* all.mbj.d/rejects/*; do
		cat "$file"
		echo
	done >lines
	head -n 1 all.mbj.d/cut/* >>lines
	mb-replay -j all.mbj 0 >>lines
	rm in.csv
	mb-replay -j all.mbj 0 >>lines || [ $? -eq 65 ] # it is gone
	"$manual" crc <lines
	run "$manual" members <lines
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$output" = "abort begin checkpoint commit cut done end fail hello intent lock manifest open plan rejects run source spool" ]
}

@test "the digests, hashes and anchors are what mb-journal(5) says" {
	make_journal
	cat >xxh.c <<-'END'
	#include <stdio.h>
	#include <stdlib.h>
	#include <xxhash.h>
	int main(void)
	{
		static char data[1 << 24];
		size_t n = fread(data, 1, sizeof data, stdin);
		XXH128_hash_t h = XXH3_128bits(data, n);

		printf("%016llx%016llx\n", (unsigned long long)h.high64,
		    (unsigned long long)h.low64);
		return 0;
	}
	END
	cc -o xxh xxh.c -lxxhash
	[ "$("$manual" digests all.mbj ./xxh)" -ge 2 ]
}

@test "the table of mb_commits has the columns that mb-journal(5) names" {
	printf 'a\n' >in.txt
	mb-collect -j t.mbj in.txt | mb-commit 'sqlite:t.db#t'
	for column in $(sqlite3 t.db "SELECT name FROM
		pragma_table_info('mb_commits')"); do
		echo "$column"
		sed -n '/^.Ss SQLite/,/^.Sh/p' "$top/man/mb-journal.5" |
			grep -q "^.It Cm .*\\b$column\\b"
	done
}

@test "install puts tools and pages in their places, uninstall takes them away" {
	build=${MB_BUILD:-build}
	[ "$build" = build ] || skip_san=SAN=1
	make -s -C "$top" $skip_san install DESTDIR="$PWD/root" PREFIX=/usr
	for tool in $tools; do
		[ -x "root/usr/bin/$tool" ]
		[ -s "root/usr/share/man/man1/$tool.1" ]
	done
	[ -s root/usr/share/man/man5/mb-journal.5 ]
	[ -s root/usr/share/man/man7/mb.7 ]
	make -s -C "$top" $skip_san uninstall DESTDIR="$PWD/root" PREFIX=/usr
	[ -z "$(find root -type f)" ]
}
