# Scores: which text they are of, and what they are called.
# usage: scores.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() { grep -qE -e "$2" "$work/$1" || die "$1 lacks \"$2\": $(cat "$work/$1")"; }
lacks() { if grep -qE -e "$2" "$work/$1"; then die "$1 has \"$2\""; fi; }

# ---- three domains that read differently; held-out text is ordered by domain ----
write_text "$work/plain" 60
mkdir "$work/shifted" "$work/numbers"
for file in "$work/plain"/*; do tr 'a-y' 'b-z' <"$file" >"$work/shifted/${file##*/}"; done
i=0
while [ $i -lt 40 ]; do
    seq $i 7 $((i + 400)) >"$work/numbers/$i.txt"
    i=$((i + 1))
done
expect 0 "$moec" data "$work/data" --domain "plain=$work/plain" --domain "shifted=$work/shifted" \
    --domain "numbers=$work/numbers" --vocab 320 --heldout 0.15
train() {
    run=$1
    shift
    "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 steps=20 dtype=f32 "$@"
}

# ---- looks in training: a sample of every domain, on the console and in the log ----
expect 0 train run val_every=10 val_tokens=300
says err 'step 10: [0-9.]* bits per byte held out \(plain [0-9.]*, shifted [0-9.]*, numbers [0-9.]*\)'
log=$work/run/log.jsonl
domains='{"plain":[0-9.]*,"shifted":[0-9.]*,"numbers":[0-9.]*}'
[ "$(grep -c "\"val_bpb\":[0-9.]*,\"val_bpb_domains\":$domains" "$log")" -eq 2 ] || die "no looks by domain in the log"
grep -q "\"step\":20,.*\"val_bpb_ema\":[0-9.]*,\"val_bpb_ema_domains\":$domains" "$log" || die "the average has no domains"

# ---- eval: a sample is called one, and has a figure for every domain ----
expect 0 "$moec" eval "$work/run" --tokens 300
says out 'bits per byte of a sample of [0-9]* bytes \(300 tokens\)'
says out '^ +plain +shifted +numbers +sample$'
cp "$work/out" "$work/first"
expect 0 "$moec" eval "$work/run" --tokens 300
cmp -s "$work/first" "$work/out" || die "a sample is not the same each time"
expect 0 "$moec" eval "$work/run" --tokens 300 --json
says out '"sample":'
lacks out '"all":'
expect 0 "$moec" eval "$work/run"
says out '^ +plain +shifted +numbers +all$'
lacks out 'sample'
