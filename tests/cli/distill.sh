# Learning from a teacher, as a user does it: a cache, a student, what the log says, resuming, and what is refused.
# usage: distill.sh MOEC
. "$(dirname "$0")/common/lenient.sh"

one_line() { [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "not one line: $(cat "$work/err")"; }

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
train() { # STATUS RUN key=value…
    status=$1 run=$2
    shift 2
    expect "$status" train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 dtype=f32 'events=[]' steps=6 checkpoint_every=3 "$@"
}
steps_with() { grep -c "\"step\",.*\"$2\":" "$work/$1/log.jsonl"; }

train 0 teacher steps=20
expect 0 teach "$work/teacher" --data "$work/data" -o "$work/cache" --dtype f32

# ---- what a teacher says ----
train 0 student teacher="$work/cache" teacher_weight='{0: 1, 0.5: 0.2}' ce_weight=0.5 teacher_temperature=2
says err "teacher: $work/cache: weight {0: 1, 0.5: 0.2}, temperature 2, forward; the text's weight 0.5"
[ "$(steps_with student kl)" -eq 6 ] || complain "not every step logs kl"
train 0 plain
[ "$(steps_with plain kl)" -eq 0 ] || complain "kl without a teacher"
train 0 control teacher="$work/cache"
says err "whose teacher_weight is 0: it is not asked"
cmp -s "$work/plain/checkpoints/step-00000006/model.safetensors" "$work/control/checkpoints/step-00000006/model.safetensors" ||
    complain "a teacher that is not asked makes another run"

rm -r "$work/student/checkpoints/step-00000006"
expect 0 train "$work/student" --resume
train 0 again teacher="$work/cache" teacher_weight='{0: 1, 0.5: 0.2}' ce_weight=0.5 teacher_temperature=2
cmp -s "$work/student/checkpoints/step-00000006/model.safetensors" "$work/again/checkpoints/step-00000006/model.safetensors" ||
    complain "a resumed run has other weights"
expect 2 train "$work/student" --resume teacher_weight=2 steps=8
says err "teacher_weight {0: 1, 0.5: 0.2} -> 2"

# ---- hidden states ----
train 0 hidden teacher_model="$work/teacher" hidden_weight=1 hidden_layers='[2, 4]' log_csv=true
says err "teacher: hidden states of $work/teacher: weight 1"
says err ", teacher about "
[ "$(steps_with hidden hidden)" -eq 6 ] || complain "not every step logs hidden"
head -1 "$work/hidden/log.csv" | grep -q ',hidden$' || complain "log.csv has no column hidden"

# ---- refused, each in one line ----
refused() { # MESSAGE key=value…
    message=$1
    shift
    train 2 refused "$@"
    says err "$message"
    one_line
}
refused "teacher_weight: expected a teacher" teacher_weight=1
refused "hidden_weight: expected a teacher_model" hidden_weight=1
refused "teacher_model: $work/teacher: expected 4 layers of 64 channels" hidden_weight=1 teacher_model="$work/teacher" model_dim=64
refused "unknown key kd_alpha: moec calls it teacher_weight" kd_alpha=1
train 1 refused teacher="$work/nowhere" teacher_weight=1
says err "$work/nowhere"
one_line

[ "$failures" -eq 0 ]
