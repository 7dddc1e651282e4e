# moec bench train: what is timed is the step that training makes of the same configuration.
# usage: bench_train.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

bench() {
    code=$1
    shift
    expect "$code" bench train configs/test-tiny.yaml --steps 1 --json "$@"
}
timed() { grep -q "\"$1\":" "$work/out" || complain "$2: $1 was not timed: $(cat "$work/out")"; }
not_timed() { ! grep -q "\"$1\":" "$work/out" || complain "$2: $1 was timed: $(cat "$work/out")"; }

bench 0
timed linear_backward_weight "all is trained"
timed muon "all is trained"

# What is frozen gets neither gradients nor an update.
bench 0 'freeze=[embedding, attention, mlp, "bigram*"]'
not_timed linear_backward_weight "no matrix is trained"
not_timed muon "no matrix is trained"
timed linear_backward_input "no matrix is trained"
bench 2 'freeze=[nothing]'
says err 'freeze: expected a component'

bench 0 --forward
not_timed linear_backward_input "--forward"

[ "$failures" -eq 0 ]
