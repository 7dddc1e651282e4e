# What scripts that go on after a failure share; sourced with `. "$(dirname "$0")/common/lenient.sh"`. They end with
# [ "$failures" -eq 0 ].
. "$(dirname "$0")/common/setup.sh"
failures=0

complain() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# expect STATUS arguments…: runs moec, keeps its output in $work/out and $work/err
expect() {
    wanted=$1
    shift
    "$moec" "$@" >"$work/out" 2>"$work/err"
    found=$?
    [ "$found" -eq "$wanted" ] || complain "moec $*: exit $found, expected $wanted: $(cat "$work/err")"
}
says() { grep -qF -e "$2" "$work/$1" || complain "$1 lacks \"$2\": $(cat "$work/$1")"; }
