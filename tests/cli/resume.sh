# moec train RUN --resume, what it says of another configuration, and a finished run that nothing changes.
# usage: resume.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
train() {
    code=$1
    shift
    expect "$code" train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 dtype=f32 "$@"
}
state_of() { (cd "$work/run" && find . -type f -exec sha256sum {} + | sort && find . -printf '%p %T@\n' | grep -v '^\. ' | sort); }

train 0 steps=4
state_of >"$work/before"

# ---- a folder in the place of a preset ----
expect 2 train "$work/run"
says err "$work/run: a run is there: --resume goes on with it; to begin another one"
expect 2 train "$work/text" --resume
says err "$work/text: expected a preset, or a run's folder"
expect 1 train "$work/text"
says err "$work/text: expected a regular file, found a folder"
expect 0 train "$work/run/" --resume
says out "finished at step 4 already: nothing is left to do, and nothing was changed"
train 0 steps=4 --resume log_every=3
says err "changed: log_every 10 -> 3"
says out "nothing was changed"

# ---- what would make another run ----
train 2 steps=8 --resume matrix_lr=0.5 batch=4 log_every=3
says err "batch 2 -> 4, matrix_lr 0.022 -> 0.5; --allow-changes does it all the same"
expect 2 train "$work/run" matrix_lr=0.5 --resume
says err "matrix_lr 0.022 -> 0.5"
train 2 steps=8 --allow-changes
says err "--allow-changes: expected --resume beside it"
state_of | cmp -s - "$work/before" || complain "a run changed though nothing was to be done, or was refused"

expect 0 train "$work/run" steps=6 log_every=2 --resume
says err "changed: steps 4 -> 6, log_every 10 -> 2"
grep -q '"record":"resume","from_step":4.*"changes":{"steps":{"from":"4","to":"6"},"log_every":{"from":"10","to":"2"}}' \
    "$work/run/log.jsonl" || complain "the log does not say what was changed"
expect 0 train "$work/run" matrix_lr=0.01 steps=7 --resume --allow-changes
says err "changed, another run from here on: matrix_lr 0.022 -> 0.01"
grep -q 'matrix_lr: 0.01$' "$work/run/config.yaml" || complain "config.yaml is not the changed one"
expect 0 train "$work/run" matrix_optimizer=adamw steps=8 --resume --allow-changes
says err "the optimiser begins anew for "

# ---- the best checkpoint, as a name that all commands take ----
train 0 run="$work/best" steps=4 keep_best=true val_every=1 keep_checkpoints=1
best=$(readlink "$work/best/checkpoints/best")
[ -d "$work/best/checkpoints/$best" ] || complain "checkpoints/best leads nowhere: $best"
for command in "inspect" "eval" "pack"; do expect 0 $command "$work/best/checkpoints/best"; done
says err "results in $work/best/model.moec"
says out "$work/best/checkpoints/$best: "
expect 0 generate "$work/best/checkpoints/best" cat --tokens 3
train 2 run="$work/best" val_every=0 early_stop=2
says err "val_every: expected at least 1, for the looks of early_stop, found 0"

# ---- without data ----
expect 1 train configs/cpu/dense-9l.yaml data="$work/nowhere" run="$work/new"
says err "moec data $work/nowhere --domain NAME=PATH"
says err "\`./run demo\`"
[ ! -e "$work/new" ] || complain "a run without data left a folder"

[ "$failures" -eq 0 ]
