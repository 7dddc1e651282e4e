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

# ---- live or averaged weights: the better ones on text kept from training, or those that are asked for ----
expect 0 train jumping average=ema ema_decay=0.9 warmdown_frac=0 embed_lr=3 scalar_lr=1 events='[]'
says err 'the averaged weights are better: on [0-9]* tokens kept from training, live [0-9.]*, averaged [0-9.]* bits per byte'
expect 0 train learning average=swa swa_start=0 swa_every=1 events='[]'
says err 'the live weights are better'
kept='[0-9.]* bits per byte of [0-9]* tokens kept from training'
for case in "jumping:averaged:live" "learning:live:averaged"; do
    run=$work/${case%%:*} rest=${case#*:}
    better=${rest%:*} worse=${rest#*:}
    expect 0 "$moec" pack "$run" -o "$work/chosen.moec"
    says out "$better weights, the better ones: $kept, $worse"
    expect 0 "$moec" generate "$run" cat --tokens 2
    says err "step-00000020: $better weights, the better ones: $kept, $worse"
    for option in --live --ema; do
        name=averaged
        [ $option = --ema ] || name=live
        expect 0 "$moec" pack "$run" -o "$work/asked.moec" $option
        says out "$name weights, as asked for: $kept"
        if cmp -s "$work/asked.moec" "$work/chosen.moec"; then packed=$better; else packed=$worse; fi
        [ "$packed" = "$name" ] || die "pack $option of ${case%%:*} packed the $packed weights"
        expect 0 "$moec" generate "$run" cat --tokens 2 $option
        says err "$name weights, as asked for"
    done
done
expect 2 "$moec" pack "$run" --live --ema
says err 'exclude each other'
expect 2 "$moec" generate "$work/chosen.moec" cat --live
says err 'chosen.moec: --live: expected a run or a checkpoint'
expect 0 train alone average=none events='[]'
lacks err 'weights are better'
expect 0 "$moec" pack "$work/alone" -o "$work/alone.moec"
says out 'live weights, the only ones'
expect 1 "$moec" pack "$work/alone" --ema
says err 'expected averaged weights, found a checkpoint without'


# ---- which of bits and step decided, in the report of pack and in the file ----
run=$work/learning
expect 0 "$moec" pack "$run" -o "$work/steps.moec" --bits 8 --step 0.5
says out '^  mlp .* step 0.5$'
says out '^  embedding .* 8 bits$'
says out '^  --bits 8 decided nothing: --step 0.5 is coarser everywhere \(--step 0 leaves it to the bits\)'
expect 0 "$moec" inspect "$work/steps.moec"
says out '^artifact, live weights$'
says out '^  mlp +[0-9]+ +[0-9,]+ +8 +0\.(4[89]|5[01])[0-9]* +[0-9.]+ +[0-9,]+$'
says out '^  gates +[0-9]+ +[0-9,]+ +float +- '
expect 0 "$moec" pack "$run" -o "$work/bits.moec" --bits 3 --embed-bits 4 --step 0
lacks out 'decided nothing'
says out '^  mlp .* 3 bits$'
expect 0 "$moec" inspect "$work/bits.moec" --json
says out '"least_bits":[^0-9]*3,'
says out '"least_bits":[^0-9]*4,'
bytes=$(wc -c <"$work/bits.moec" | tr -d ' ')
says out "\"artifact_bytes\":[^0-9]*$bytes,"
expect 1 "$moec" pack "$run" -o "$work/none.moec" --budget 9000 --fit
says err 'with the coarsest steps; --embed-bits 2 would make it about [0-9]*; --prune 0.9 would make it about [0-9]*, both [0-9]*$'
expect 1 "$moec" pack "$run" -o "$work/none.moec" --budget 9000
says err '--fit coarsens the grids until it fits'
