# The log for TensorBoard and as a table: after a resume too they have what log.jsonl has. TensorBoard itself reads its file back
# where python3 (or $MOEC_TENSORBOARD_PYTHON) has it.
# usage: tensorboard.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
train() {
    expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 dtype=f32 checkpoint_every=3 val_every=4 "$@"
}
events() { ls "$work/run" | grep '^events.out.tfevents.[0-9]*.moec$'; }
logged() { sed -n "s/.*\"record\":\"step\",\"step\":\([0-9]*\),\"loss\":\([^,]*\),.*/\1,\2/p" "$work/run/log.jsonl"; }
check_table() {
    sed 1d "$work/run/log.csv" | cut -d, -f1 | cmp -s - "$work/steps" || complain "log.csv: not a row for each step"
    [ "$(sed 1d "$work/run/log.csv" | cut -d, -f11 | grep -c .)" -eq "$1" ] || complain "log.csv: not $1 looks"
}

train steps=6 # without
[ -z "$(events)" ] && [ ! -e "$work/run/log.csv" ] || complain "events or a table that nobody asked for"
train steps=9 --resume tensorboard=true log_csv=true # they have what was before, too
seq 9 >"$work/steps"
check_table 4
rm -r "$work/run/checkpoints/step-00000009"
sleep 1 # for another name
before=$(events)
train steps=12 --resume --allow-changes tensorboard=true log_csv=true
seq 12 >"$work/steps"
check_table 4
[ "$(events | wc -l)" -eq 1 ] || complain "more than one event file: $(events)"
[ "$(events)" != "$before" ] || complain "the event file kept its name"

python=${MOEC_TENSORBOARD_PYTHON:-python3}
if "$python" -c 'import tensorboard' 2>/dev/null; then
    "$python" - "$work/run" >"$work/scalars" 2>"$work/err" <<'END' || complain "TensorBoard: $(cat "$work/err")"
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in events.Tags()["scalars"]:
    for e in events.Scalars(tag):
        print(f"{tag} {e.step} {e.value:.5g}")
END
    logged | while IFS=, read -r step loss; do printf 'train/loss %d %.5g\n' "$step" "$loss"; done >"$work/expected"
    grep '^train/loss ' "$work/scalars" | cmp -s - "$work/expected" || complain "TensorBoard reads other losses"
    for tag in 'val/bpb 4' 'val/bpb_ema 12' 'train/lr 1' 'train/grad_norm 12' 'train/tokens_per_second 2' \
        'experts/layer2_pass1_expert0 12' 'experts/layer2_pass2_expert1 12' 'router_entropy/layer2_pass1 12'; do
        grep -q "^$tag " "$work/scalars" || complain "TensorBoard has no $tag"
    done
else
    read_back=no
fi

expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 model_dim=32 rope_dims=8 \
    batch=2 seq=32 eval_stride=32 dtype=f32 steps=2 --overwrite
[ -z "$(events)" ] && [ ! -e "$work/run/log.csv" ] || complain "events or a table of the run that was overwritten"

[ "$failures" -eq 0 ] || exit 1
[ -z "${read_back:-}" ] || { echo "skipped: $python has no tensorboard to read the events back"; exit 77; }
