# What scripts of several ranks share; sourced behind lenient.sh. Skips the script where ranks cannot be started.
skip() {
    echo "skipped: $*"
    exit 77
}
command -v mpirun >/dev/null 2>&1 || skip "no mpirun"
export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Sanitizers see what MPI itself keeps until the end.
export LSAN_OPTIONS=exitcode=0 ASAN_OPTIONS=detect_leaks=0

# ranks N arguments…: moec by N ranks; one rank is a process without a launcher
ranks() {
    many=$1
    shift
    if [ "$many" -eq 1 ]; then "$moec" "$@"; else mpirun --oversubscribe --bind-to none -n "$many" "$moec" "$@"; fi
}
if ! ranks 2 bench train --help >/dev/null 2>&1; then skip "mpirun starts no two processes here"; fi
if ranks 2 train configs/test-tiny.yaml data="$work/none" run="$work/none" 2>&1 | grep -q "built without MPI"; then skip "moec is built without MPI"; fi

# The smallest model with an upcycle, a loop and late QAT. Its events depend on `steps`: resume with the same.
tiny="vocab_size=320 model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 accumulate=4 checkpoint_every=10 val_every=10"

# train STATUS N arguments…: output in $work/out and $work/err
train() {
    wanted=$1 many=$2
    shift 2
    # shellcheck disable=SC2086
    ranks "$many" train configs/test-tiny.yaml data="$work/data" $tiny "$@" >"$work/out" 2>"$work/err"
    found=$?
    [ "$found" -eq "$wanted" ] || complain "$many ranks, train $*: exit $found, expected $wanted: $(cat "$work/err")"
}
bf16_where_there_is() { if "$moec" --version | grep -q 'bf16\|amx'; then echo bf16; fi; }

# same FOLDER FOLDER: the two runs' checkpoints of step 20 or $final have the same tensors, and their logs the same numbers
same() {
    for file in model ema optimizer; do
        cmp "$1/checkpoints/step-000000${final:-20}/$file.safetensors" "$2/checkpoints/step-000000${final:-20}/$file.safetensors" ||
            complain "$file.safetensors of $1 and $2 differ"
    done
    losses "$1" >"$work/first"
    losses "$2" >"$work/second"
    cmp "$work/first" "$work/second" || complain "the logs of $1 and $2 differ: $(diff "$work/first" "$work/second" | head -4)"
    [ -s "$work/first" ] || complain "no losses in $1"
}
# What a step found, without what the clock says of it.
losses() {
    grep '"record":"step"' "$1/log.jsonl" | sed 's/"seconds":[^,]*,//; s/"time":[^,}]*//; s/"tokens_per_second":[^,}]*//'
}
