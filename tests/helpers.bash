# helpers.bash - what the tool tests share; "load helpers" in a .bats file.

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	PATH=${MB_BIN:-$BATS_TEST_DIRNAME/../${MB_BUILD:-build}/bin}:$PATH
	unset MB_JOURNAL MB_BATCH MB_TOKEN MB_TIME MB_HEADER MB_FORMAT
	started=()	# not "lines": that is what bats' run fills
	! declare -F set_up >/dev/null || set_up
}

teardown() {
	local leader

	for leader in "${started[@]}"; do
		# kill -- -1 would be everybody.
		[[ $leader =~ ^[0-9]+$ && $leader -gt 1 ]] || continue
		killed "$leader" || true
	done
	# What a test that failed has left in the background.
	for leader in $(jobs -p); do
		kill -KILL "$leader" 2>/dev/null || true
	done
	! declare -F tear_down >/dev/null || tear_down
}

# is GOT EXPECTED
is() {
	[ "$1" = "$2" ] || {
		printf 'got:\n%s\nexpected:\n%s\n' "$1" "$2" >&2
		return 1
	}
}

# has TEXT PART...: each part, somewhere.
has() {
	local text=$1 part

	shift
	for part; do
		[[ $text == *"$part"* ]] || {
			printf 'got:\n%s\nlacks:\n%s\n' "$text" "$part" >&2
			return 1
		}
	done
}

# Run a line of shell; $output is all that it says, and then the status of
# each of its stages.  One that hangs is ended.  That it waits for another it
# may say on any loaded machine.
line() {
	run timeout 300 bash -c "$1"'; echo "status ${PIPESTATUS[*]}"'
	[[ $output != *": waiting for "* ]] ||
		output=$(grep -av ': waiting for ' <<<"$output")
}

# Nothing was said by what was started (but as above).
silent() {
	is "$(grep -av ': waiting for ' err)" ""
}

# Start a line in the background, as a process group of its own.  What it says
# is in the files `said` (standard output) and `err`.  Descriptor 8 is the
# test's own: a pipe that it writes into must end when it says so.
start() {
	setsid env --default-signal=INT bash -c "$1" >>said 2>>err 3>&- 8>&- &
	leader=$!
	started+=("$leader")
}

# The process of this name in the line that was started last.
pid_of() {
	pgrep -g "$leader" -x "$1"
}

# The status of the line that was started last, or of process group $1.
finished() {
	local status=0 ended=${1:-$leader}

	wait "$ended" || status=$?
	forgotten "$ended"
	is "$status" "${2:-0}"
}

# Kill all of the line that was started last, or of that of leader $1, wherever
# it is, and wait until nothing of it is left.  It may not have come as far as
# to be a group of its own; and what its leader has started outlives him.
killed() {
	local dead=${1:-$leader} left=$((SECONDS + 120))

	kill -KILL -- "-$dead" 2>/dev/null || kill -KILL "$dead" 2>/dev/null || true
	wait "$dead" 2>/dev/null || true
	while ps -s "$dead" -o stat= | grep -qv '^Z'; do
		pkill -KILL -s "$dead" || true
		[ $SECONDS -lt $left ] || return 1
		sleep 0.01
	done
	forgotten "$dead"
}

# forgotten LEADER: the line is not ours to end any more.
forgotten() {
	local still=() other

	for other in "${started[@]}"; do
		[ "$other" = "$1" ] || still+=("$other")
	done
	started=("${still[@]}")
}

# Until the command succeeds; a loaded machine may take its time.
eventually() {
	local left=$((SECONDS + 120))

	while [ $SECONDS -lt $left ]; do
		if "$@" >/dev/null 2>&1; then
			return 0
		fi
		sleep 0.05
	done
	echo "never came true: $*" >&2
	cat err >&2 2>/dev/null || true
	return 1
}

# catches PID NUMBER: has it said what it does at this signal?
catches() {
	local mask

	mask=$(awk '/^SigCgt/ { print $2 }' "/proc/$1/status") &&
		((0x$mask >> ($2 - 1) & 1))
}

# took PID: is there no signal that it hasn't got yet?  Two that come together
# are one.
took() {
	! grep -qE '^(SigPnd|ShdPnd):.*[1-9a-f]' "/proc/$1/status"
}

# gone PID
gone() {
	! kill -0 "$1" 2>/dev/null
}

# The batches of a journal, "0 committed 1 planned".
states() { # JOURNAL
	mb-replay -j "$1" | awk '$1 ~ /^[0-9]/ { printf "%s%s %s", sep, $1, $2; sep = " " }'
}

# The records of each batch, "3 2".
counts() { # JOURNAL
	mb-replay -j "$1" | awk '$1 ~ /^[0-9]/ { printf "%s%s", sep, $4; sep = " " }'
}

# Is every batch of the journal committed?
settled() { # JOURNAL [HOW MANY]
	local all

	all=$(states "$1")
	[[ $all != *planned* && $all != *failed* ]] &&
		[ "$(grep -o committed <<<"$all" | wc -l)" -ge "${2:-1}" ]
}

# The data lines of a directory's batches, in the order of their numbers.
rows() { # DIR
	local f

	for f in "$1"/batch-*; do
		case $f in
		*.csv | *.tsv) tail -n +2 "$f" ;;
		*) cat "$f" ;;
		esac
	done
}

# The same check for every scenario: what was written is in the sink, once.
same_records() { # FILE DIR [JOURNAL]
	rows "$2" | sort >got.sorted
	sort "$1" >expected.sorted
	cmp expected.sorted got.sorted
	[ -z "${3-}" ] || mb-replay -j "$3" --verify >verified || {
		cat verified >&2
		return 1
	}
}
