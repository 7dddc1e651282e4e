# What scripts that end at their first failure share; sourced with `. "$(dirname "$0")/common/strict.sh"`.
set -eu
. "$(dirname "$0")/common/setup.sh"

die() {
    echo "${0##*/}: $*" >&2
    [ ! -f "$work/err" ] || tail -5 "$work/err" >&2
    exit 1
}

# expect CODE command…: the exit code is CODE; its output is in $work/out and $work/err
expect() {
    wanted=$1
    shift
    code=0
    "$@" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" -eq "$wanted" ] || die "expected exit $wanted, found $code: $*"
}
