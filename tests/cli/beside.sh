# What goes on beside a training, or ends it: another training in its folder, readers of its checkpoints, Ctrl-C in a look at
# held-out text, kills at any moment. Nothing is lost, and nobody who only reads fails.
# usage: beside.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() { grep -qF -e "$1" "$work/err" || die "the message does not name \"$1\""; }

write_text "$work/text" 60
expect 0 "$moec" data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.2

# start RUN options…: a training in the background, of many steps with a checkpoint each; its process is $child
start() {
    run=$1
    shift
    : >"$work/$run.err"
    "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 steps=100000 max_seconds=600 checkpoint_every=1 keep_checkpoints=1 dtype=f32 \
        val_every=0 events='[]' average=ema ema_decay=0.9 ema_start=0 "$@" >"$work/train.out" 2>"$work/$run.err" &
    child=$!
}
# until_step RUN STEP: its checkpoint is there
until_step() {
    until [ "$(ls "$work/$1/checkpoints" 2>/dev/null | sed -n 's/^step-0*//p' | sort -n | tail -1)" -ge "$2" ] 2>/dev/null; do
        kill -0 "$child" 2>/dev/null || die "the training ended before step $2: $(tail -1 "$work/$1.err")"
        sleep 0.02
    done
}
stop() { # SIGNAL: $code is how it ended
    kill "-$1" "$child" 2>/dev/null || true
    code=0
    wait "$child" 2>/dev/null || code=$?
}

# ---- readers of a run that keeps one checkpoint: whole each time, and never gone under their hands ----
start run
until_step run 1
reads=0
for round in 1 2 3; do
    for command in "inspect $work/run" "generate $work/run cat --tokens 3" "eval $work/run --tokens 200" \
        "pack $work/run -o $work/packed.moec --calibration 1" "inspect $work/run --json"; do
        "$moec" $command >"$work/out" 2>"$work/err" || die "beside a training: moec $command failed"
        reads=$((reads + 1))
    done
done

# ---- a second training in the same folder is refused, and the first one goes on ----
train_beside() { "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 model_dim=32 \
    rope_dims=8 batch=2 seq=32 eval_stride=32 steps=2 dtype=f32 "$@"; }
for how in --resume --overwrite ''; do
    expect 1 train_beside $how
    says "$work/run/lock: held by moec train, process $child on "
done
before=$(ls "$work/run/checkpoints" | tail -1)
tries=0
while [ "$(ls "$work/run/checkpoints" | tail -1)" = "$before" ]; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || die "the first training stands still"
    sleep 0.1
done
stop INT
[ "$code" -eq 130 ] || die "expected exit 130 after an interruption, found $code"
[ ! -e "$work/run/lock" ] || die "the lock is still there"
expect 0 "$moec" eval "$work/run"

# ---- ten kills at moments that differ: each time a whole checkpoint, no older than the one that was there before ----
kills=0 last=0
mkdir "$work/killed"
for pause in 0.13 0.02 0.07 0.29 0.05 0.17 0.11 0.23 0.03 0.19; do
    start killed --resume
    until_step killed $((last + 1))
    sleep "$pause"
    stop KILL
    kills=$((kills + 1))
    [ -e "$work/killed/lock" ] || die "a killed training cannot have removed its lock"
    expect 0 "$moec" inspect "$work/killed"
    expect 0 "$moec" pack "$work/killed" -o "$work/packed.moec" --calibration 1 # checks every file's sum
    step=$(ls "$work/killed/checkpoints" | sed -n 's/^step-0*//p' | sort -n | tail -1)
    [ "$step" -gt "$last" ] || die "kill $kills: the newest checkpoint is of step $step, after one of step $last"
    last=$step
done

# ---- what killed writers leave goes with the next one ----
: >"$work/killed/config.yaml.tmp-4194305"
: >"$work/killed/checkpoints/partial-step-00000001"
start killed --resume
until_step killed $((last + 2))
stop INT
for left in lock config.yaml.tmp-4194305 checkpoints/partial-step-00000001; do
    [ ! -e "$work/killed/$left" ] || die "$left is still there"
done
[ "$(ls "$work/killed/checkpoints" | wc -l)" -eq 1 ] || die "there is more than one checkpoint"
[ "$(grep -c '"record":"step"' "$work/killed/log.jsonl")" -eq "$(sed -n 's/.*"step":\([0-9]*\),"loss.*/\1/p' \
    "$work/killed/log.jsonl" | tail -1)" ] || die "steps are missing in the log"

# ---- Ctrl-C in a look at held-out text: the look is made when the run goes on ----
mkdir "$work/looking"
looks=0
for pause in 0.1 0.15 0.2 0.25 0; do
    start looking --resume steps=12 val_every=1 val_tokens=4000 batch=1 seq=8 eval_stride=8
    [ "$pause" = 0 ] || { sleep "$pause"; kill -INT "$child" 2>/dev/null || true; }
    code=0
    wait "$child" || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 130 ] || die "exit $code: $(tail -1 "$work/looking.err")"
    [ "$code" -eq 0 ] || looks=$((looks + 1))
done
[ "$(grep -c '"val_bpb":' "$work/looking/log.jsonl")" -eq 12 ] || die "a look is missing in the log"
grep -q '"val_bpb_ema":' "$work/looking/log.jsonl" || die "the average's look is missing in the log"
echo "beside.sh: $reads reads, $kills kills, $looks interruptions of looks"
