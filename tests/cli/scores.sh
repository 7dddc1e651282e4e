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
expect 0 "$moec" pack "$run" -o "$work/steps.moec" --grid 8 --step 0.5
says out '^  mlp .* step 0.5$'
says out '^  embedding .* 8 bits$'
says out '^  --grid 8 decided nothing: --step 0.5 is coarser everywhere \(--step 0 leaves it to the bits\)'
expect 0 "$moec" inspect "$work/steps.moec"
says out '^artifact, live weights$'
says out '^  mlp +[0-9]+ +[0-9,]+ +8 +0\.(4[89]|5[01])[0-9]* +[0-9.]+ +[0-9,]+$'
says out '^  gates +[0-9]+ +[0-9,]+ +float +- '
expect 0 "$moec" pack "$run" -o "$work/bits.moec" --grid 3 --embed-grid 4 --step 0
lacks out 'decided nothing'
says out '^  mlp .* 3 bits$'
expect 0 "$moec" inspect "$work/bits.moec" --json
says out '"least_bits":[^0-9]*3,'
says out '"least_bits":[^0-9]*4,'
bytes=$(wc -c <"$work/bits.moec" | tr -d ' ')
says out "\"artifact_bytes\":[^0-9]*$bytes,"
expect 1 "$moec" pack "$run" -o "$work/none.moec" --uniform --budget 9000
says err '; --budget 9000 shares so many out among all tensors'

# ---- eval: which text it is, and what it is called ----
run=$work/learning
expect 0 "$moec" pack "$run"
expect 0 "$moec" eval "$run"
says out 'of held-out text$'
says out '^weights of this training: live weights, the better ones: '
says out '^quantisation gap \(packed - live\) '
for weights in live SWA packed; do says err "evaluate done  $weights"; done
grep -q '"packed_weights":[^a-z]*"live"' "$run/summary.json" || die "the summary does not say which weights were packed"
cp "$run/summary.json" "$work/summary"
expect 0 "$moec" eval "$run" --json
lacks out '"[^"]*[ +][^"]*":'
for key in live ema packed packed_blend xz; do
    says out "^.\"$key\":"
done
says out '"text":.*"held_out"'
expect 0 "$moec" eval "$run/model.moec"
says out 'of held-out text$'
expect 0 "$moec" eval "$run" --data "$work/data"
says out 'of held-out text$'
cp "$run/model.moec" "$work/alone.moec"
expect 2 "$moec" eval "$work/alone.moec"
says err 'expected --text FILE, or --data with a folder'
expect 0 "$moec" eval "$work/alone.moec" --data "$work/data"
says out "of $work/data, which is not known to be held out\$"
expect 0 "$moec" eval "$run" --live
says out '^live '
says out '^live \+ blend '
lacks out 'packed|SWA  '
cmp -s "$run/summary.json" "$work/summary" || die "eval --live changed the summary"
expect 2 "$moec" eval "$run/model.moec" --ema
says err 'model.moec: --ema: expected a run or a checkpoint'

# A corpus for scoring, of another tokenizer: its text is what counts.
write_text "$work/more" 20
expect 0 "$moec" data "$work/corpus" --domain "more=$work/more" --vocab 300 --heldout 1
expect 0 "$moec" eval "$run" --data "$work/corpus"
says out "of $work/corpus, which is not known to be held out\$"
says out '^ +more +all$'
cmp -s "$run/summary.json" "$work/summary" || die "another text became the run's summary"
sed -n 's/^packed  *//p' "$work/out" >"$work/first"
expect 0 "$moec" data "$work/same" --domain "more=$work/more" --tokenizer "$work/data/tokenizer.model" --heldout 1
expect 0 "$moec" eval "$run" --data "$work/same"
sed -n 's/^packed  *//p' "$work/out" | cmp -s - "$work/first" || die "another tokenizer changes the score"
rm "$work/corpus/heldout.txt"
expect 1 "$moec" eval "$run" --data "$work/corpus"
says err 'its tokens are those of another tokenizer than the model.s, and no heldout.txt'

# ---- eval --text: any file, by its name ----
cat "$work/more"/*.txt >"$work/a.txt"
echo 'An ελληνικό text that the tokenizer was not trained on: 你好.' >"$work/b.txt"
for model in "$run" "$work/alone.moec"; do
    expect 0 "$moec" eval "$model" --text "$work/a.txt" --text "$work/b.txt"
    says out 'bits per byte and perplexity per token of [0-9]* bytes \([0-9]* tokens\) of 2 files$'
    says out "^a.txt +(packed|model) +[0-9.]+ +[0-9.]+ +[0-9]+ +$(wc -c <"$work/a.txt" | tr -d ' ')\$"
    says out "^b.txt +(packed|model) +[0-9.]+ +[0-9.]+ +[0-9]+ +$(wc -c <"$work/b.txt" | tr -d ' ')\$"
    says out '^all +(packed|model) +[0-9.]+ +[0-9.]+ '
    lacks out 'held-out'
done
cmp -s "$run/summary.json" "$work/summary" || die "another text became the run's summary"
expect 0 "$moec" eval "$work/alone.moec" --text "$work/a.txt" --tokens 100 --json
says out '"text":.*"files"'
says out '"sample":'
expect 0 "$moec" eval "$work/alone.moec" --text "$work/more/1.txt" --text "$work/plain/1.txt"
says out "^$work/more/1.txt "
expect 2 "$moec" eval "$run" --text "$work/a.txt" --text "$work/a.txt"
says err 'a.txt: is given twice'
expect 2 "$moec" eval "$run" --text "$work/a.txt" --data "$work/data"
says err '--data and --text exclude each other'
printf 'abc\377' >"$work/bad.txt"
expect 1 "$moec" eval "$run" --text "$work/bad.txt"
says err 'bad.txt: expected UTF-8 text, found the byte 0xFF at byte offset 3'
: >"$work/bad.txt"
expect 1 "$moec" eval "$run" --text "$work/bad.txt"
says err 'bad.txt: expected text to score, found an empty file'
expect 1 "$moec" eval "$run" --text "$work/nowhere.txt"
says err 'nowhere.txt: '

# ---- windows: what was not given is not blamed ----
expect 2 "$moec" eval "$run" --stride 33
says err 'expected at most 32, the window.s length \(as trained; --seq changes it\), found 33'
lacks err 'batch'
expect 2 "$moec" eval "$run" --seq 16 --stride 17
says err 'expected at most 16, the window.s length \(--seq\), found 17'
expect 0 "$moec" eval "$run" --seq 16 --tokens 50

# ---- Ctrl-C while it scores: one line, and nothing is written ----
i=0
while [ $i -lt 1000 ]; do cat "$work/a.txt"; i=$((i + 1)); done >"$work/long.txt"
rm "$run/summary.json"
: >"$work/err"
"$moec" eval "$run" --text "$work/long.txt" --seq 2 --stride 1 >"$work/out" 2>"$work/err" &
child=$!
sleep 1
kill -INT "$child"
code=0
wait "$child" || code=$?
[ $code -eq 130 ] || die "expected exit 130 after an interruption, found $code"
[ "$(grep -c '^moec: interrupted while the weights "live" were scored; nothing was written$' "$work/err")" -eq 1 ] ||
    die "an interrupted eval does not say so"
[ ! -s "$work/out" ] && [ ! -e "$run/summary.json" ] || die "an interrupted eval left something"
