# moec train: a run that is interrupted, killed at any moment or out of space goes on from its last whole checkpoint.
# usage: train.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() {
    grep -q "$1" "$work/err" || die "the message does not name \"$1\""
}

# Every step from 1 to $2 is in the log of run $1 exactly once and in order.
check_log() {
    sed -n 's/.*"record":"step","step":\([0-9]*\),.*/\1/p' "$work/$1/log.jsonl" >"$work/steps"
    seq 1 "$2" | cmp -s - "$work/steps" || die "steps are missing or doubled in the log of $1"
}

losses() {
    sed -n 's/.*"record":"step","step":\([0-9]*\),"loss":\([^,]*\),.*/\1 \2/p' "$work/$1/log.jsonl"
}

# Run $1 ended with the same losses and the same weights as the run that nobody disturbed.
check_same() {
    check_log "$1" $steps
    losses "$1" >"$work/losses"
    losses whole | cmp -s - "$work/losses" || die "losses of $1 differ from those of the undisturbed run"
    for file in model ema optimizer; do
        cmp -s "$work/whole/$last/$file.safetensors" "$work/$1/$last/$file.safetensors" ||
            die "$file.safetensors of $1 differs from that of the undisturbed run"
    done
}

# ---- text and a tiny model with all events ----
write_text "$work/text" 60
expect 0 "$moec" data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1

steps=40
last=checkpoints/step-000000$steps
train() {
    run=$1
    shift
    "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/$run" model.vocab_size=320 model.model_dim=32 \
        rope_dims=8 batch=2 seq=32 eval_stride=32 steps=$steps checkpoint_every=1 dtype=f32 "$@"
}

expect 0 train whole
check_log whole $steps
grep -q '"do":"upcycle"' "$work/whole/log.jsonl" || die "no upcycling in the log"
grep -q '"do":"loop"' "$work/whole/log.jsonl" || die "no looping in the log"
grep -q '"do":"qat"' "$work/whole/log.jsonl" || die "no QAT in the log"
[ "$(ls "$work/whole/checkpoints" | wc -l)" -eq 2 ] || die "keep_checkpoints=2 left other checkpoints"

# ---- a run is not overwritten by accident ----
expect 2 train whole
says 'already holds checkpoints'
expect 2 train new stepz=3
says 'stepz'

# wait_for RUN STEP: the run in the background has made that step
wait_for() {
    until grep -q "\"record\":\"step\",\"step\":$2," "$work/$1/log.jsonl" 2>"/dev/null"; do
        kill -0 "$child" 2>/dev/null || die "the run ended before step $2"
        sleep 0.01
    done
}

start() {
    "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/$1" model.vocab_size=320 model.model_dim=32 \
        rope_dims=8 batch=2 seq=32 eval_stride=32 steps=$steps checkpoint_every=1 dtype=f32 --resume \
        >"$work/out" 2>"$work/err" &
    child=$!
}

# ---- Ctrl-C finishes the step, saves, exits with 130 ----
mkdir "$work/interrupted"
start interrupted
wait_for interrupted 5
kill -INT "$child"
code=0
wait "$child" || code=$?
[ $code -eq 130 ] || die "expected exit 130 after an interruption, found $code"
says 'stopping: the step is finished and saved first'
says 'interrupted after step'
expect 0 train interrupted --resume
check_same interrupted

# ---- SIGKILL at any moment: wherever it hits, while saving too, the run goes on ----
mkdir "$work/killed"
kills=0
for moment in 0:0.01 1:0 7:0.02 13:0.05 19:0.08 25:0.11; do # after this step and this pause
    start killed
    until grep -q "\"step\":${moment%:*}," "$work/killed/log.jsonl" 2>/dev/null || [ "${moment%:*}" -eq 0 ]; do
        kill -0 "$child" 2>/dev/null || break
        sleep 0.01
    done
    sleep "${moment#*:}"
    if kill -KILL "$child" 2>/dev/null; then kills=$((kills + 1)); fi
    wait "$child" 2>/dev/null || true
    [ ! -d "$work/killed/$last" ] || break
done
[ $kills -gt 0 ] || die "the run was over before it could be killed"
expect 0 train killed --resume
check_same killed
if ls "$work/killed/checkpoints" | grep -v '^step-'; then die "what a killed save left is still there"; fi

# ---- no space left while saving: one line, and the checkpoint before is whole ----
size=$(du -sb "$work/whole/$last" | cut -f1)
code=0
MOEC_FAIL_WRITE_AFTER=$((size * 5 / 2)) train full >"$work/out" 2>"$work/err" || code=$?
[ $code -eq 1 ] || die "expected exit 1 without space, found $code"
says 'No space left on device.*the checkpoint of step [12] .* is whole'
if ls "$work/full/checkpoints" | grep -v '^step-'; then die "a failed save left something"; fi
expect 0 train full --resume
check_same full

# ---- a corrupted checkpoint is refused by name ----
printf 'x' | dd of="$work/whole/$last/optimizer.safetensors" bs=1 seek=5000 conv=notrunc 2>/dev/null
expect 1 train whole --resume
says "$last/optimizer.safetensors: truncated or corrupted"
expect 0 train whole --overwrite
check_log whole $steps
echo "train.sh: killed $kills times, all runs ended the same"
