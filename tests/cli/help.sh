# The command's manners: help, exit codes, one line to stderr, colour only where it is wanted. $1: moec
. "$(dirname "$0")/common/lenient.sh"

one_line() { [ "$(wc -l <"$work/err")" -eq 1 ] || complain "not one line: $(cat "$work/err")"; }

for form in "" --help -h help; do
    expect 0 $form
    for name in data train pack eval generate inspect verify bench sweep compare fetch probe teach route chat serve study simulate; do says out "  $name "; done
    says out "example: moec "
    [ -s "$work/err" ] && complain "moec $form wrote to stderr"
done
for name in data train pack eval generate inspect verify bench sweep compare fetch probe teach route chat serve study simulate; do
    expect 0 "$name" --help
    says out "moec $name"
    grep -q '^example' "$work/out" || complain "$name --help has no example"
    cp "$work/out" "$work/long"
    for form in "$name -h" "help $name"; do
        expect 0 $form
        cmp -s "$work/long" "$work/out" || complain "moec $form is not moec $name --help"
    done
done
expect 2 help trian
one_line
says err "unknown command trian; the nearest is train"
expect 2 help train pack
one_line
expect 0 --version
for word in moec oneDNN kernels threads activations; do says out "$word "; done

expect 2 trian
one_line
says err "moec: unknown command trian; the nearest is train"
expect 2 --frobnicate
one_line
expect 2 inspect
one_line
expect 2 inspect configs/demo.yaml --jsn
one_line
says err "--jsn"
expect 2 inspect configs/demo.yaml btach=4
one_line
says err "unknown key btach; the nearest is batch"
expect 2 inspect configs/demo.yaml num_heads=3
one_line
says err "num_heads"
expect 1 inspect "$work/none"
one_line
says err "$work/none: no such file"
printf 'train:\n  batch: four\n' >"$work/bad.yaml"
expect 2 inspect "$work/bad.yaml"
one_line
says err "$work/bad.yaml:2: batch: expected an integer from 1 to 65536, found \`four\`"
MOEC_ISA=abacus expect 2 inspect configs/demo.yaml
one_line
says err "MOEC_ISA"

expect 0 inspect configs/upcycle-9l.yaml
says out "encoder 0 1 2 3 4 5 3  decoder 4 5 3 4 5 6 7 8"
expect 0 inspect configs/upcycle-9l.yaml --json
grep -q '"total":' "$work/out" || complain "inspect --json has no total"

# Colour: never in a file; on a terminal (script gives one), unless NO_COLOR is set.
escape=$(printf '\033')
expect 2 trian
grep -q "$escape" "$work/err" && complain "colour in a file"
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then # there is a script, and it can make a terminal
    script -qec "env -u NO_COLOR '$moec' trian" /dev/null >"$work/terminal" </dev/null
    grep -q "$escape\[31m" "$work/terminal" || complain "no colour on a terminal"
    script -qec "env NO_COLOR=1 '$moec' trian" /dev/null >"$work/terminal" </dev/null
    grep -q "$escape" "$work/terminal" && complain "colour in spite of NO_COLOR"
fi

# A full disk is an error, not silence.
if [ -w /dev/full ]; then
    "$moec" --help >/dev/full 2>"$work/err" && complain "success while stdout is full"
    says err "moec: stdout: "
fi

[ "$failures" -eq 0 ] || exit 1
