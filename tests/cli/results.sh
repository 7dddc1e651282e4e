# Where results lie is the last line of every command that leaves files, on stderr, and what it names is there.
# usage: results.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

# The last line of stderr is "results in $1".
lie_in() { [ "$(tail -n 1 "$work/err")" = "results in $1" ] || complain "expected results in $1, found: $(tail -n 1 "$work/err")"; }
none() { ! grep -q '^results in' "$work/err" || complain "results of $1, which leaves none"; }
there() { for path in "$@"; do [ -e "$work/$path" ] || complain "$path is not there"; done; }

write_text "$work/text" 60
expect 0 data "$work/data/" --domain "text=$work/text" --vocab 320 --heldout 0.1
lie_in "$work/data (data.json lists them)"
there data/data.json

tiny="vocab_size=320 model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 dtype=f32 calibration_batches=2"
train() { expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" steps=4 val_every=2 $tiny "$@"; }
train
lie_in "$work/run: checkpoints/step-00000004, log.jsonl, config.yaml"
train --resume # nothing is left to do
lie_in "$work/run: checkpoints/step-00000004, log.jsonl, config.yaml"
train --overwrite keep_best=true log_csv=true tensorboard=true
best=$(readlink "$work/run/checkpoints/best")
lie_in "$work/run: checkpoints/step-00000004, checkpoints/best (step ${best#step-0000000}), log.jsonl, config.yaml, log.csv, events for TensorBoard"
there run/checkpoints/step-00000004 run/checkpoints/best run/log.jsonl run/config.yaml run/log.csv

expect 0 pack "$work/run"
lie_in "$work/run/model.moec"
there run/model.moec
expect 1 pack "$work/run" --budget 100
none "a pack that fails"

expect 0 eval "$work/run" --trace "$work/trace.csv"
lie_in "$work/run/summary.json and $work/trace.csv"
there run/summary.json trace.csv
expect 0 eval "$work/run" --json
lie_in "$work/run/summary.json"
expect 0 eval "$work/run/model.moec" --trace "$work/trace.csv"
lie_in "$work/trace.csv"
expect 0 eval "$work/run/model.moec"
none "the eval of an artifact"

cat >"$work/sweep.yaml" <<END
seeds: [1]
steps: 3
eval_tokens: 300
config: $PWD/configs/test-tiny.yaml
common: {data: $work/data, vocab_size: 320, model_dim: 32, rope_dims: 8, batch: 2, seq: 32, eval_stride: 32, dtype: f32}
runs: [{name: one}]
END
expect 0 sweep "$work/sweep.yaml" --out "$work/sweep" --list
none "sweep --list"
expect 0 sweep "$work/sweep.yaml" --out "$work/sweep"
[ -d "$work/sweep/plots" ] && plots='plots, ' || plots=
lie_in "$work/sweep: results.md, results.jsonl, ${plots}a folder for each run"
there sweep/results.md sweep/results.jsonl

# behind what is on stdout, also where both go to one place
"$moec" eval "$work/run" --tokens 100 --trace "$work/trace.csv" >"$work/both" 2>&1
[ "$(tail -n 1 "$work/both")" = "results in $work/trace.csv" ] || complain "the results are not the last line: $(tail -n 1 "$work/both")"

[ "$failures" -eq 0 ]
