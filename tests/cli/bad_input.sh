# Bad input, and what it gets: one line that names file, key or tensor with what was expected and what was found, an exit
# status that is not 0, what was there before still whole and nothing half-written. $1: moec
. "$(dirname "$0")/common/lenient.sh"

# refuses STATUS MESSAGE command…: that exit status, and only one line of error with MESSAGE (progress shows "done")
refuses() {
    wanted=$1 message=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    found=$?
    [ "$found" -eq "$wanted" ] || complain "$*: exit $found, expected $wanted: $(cat "$work/err")"
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || complain "$*: not one line of error: $(cat "$work/err")"
    grep -F -e "$message" "$work/err" | grep -q '^moec: ' || complain "$* lacks \"$message\": $(cat "$work/err")"
}
works() {
    "$@" >"$work/out" 2>"$work/err" </dev/null || complain "$*: exit $?: $(cat "$work/err")"
}
absent() { [ ! -e "$1" ] || complain "$1 was left behind"; }

# change FILE OFFSET BYTES: bytes as printf writes them
change() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>"$work/dd" || complain "dd: $(cat "$work/dd")"; }
shorten() { truncate -s -"$2" "$1"; }
# fresh NAME: a copy of the run under that name
fresh() {
    rm -rf "${work:?}/$1"
    cp -r "$work/run" "$work/$1"
    checkpoint=$work/$1/checkpoints/step-00000004
}

# ---- a small corpus, a run of four steps, an artifact ----
mkdir "$work/empty-folder"
: >"$work/empty"
write_text "$work/text" 40
works "$moec" data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1

train() {
    name=$1
    shift
    "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/$name" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 steps=4 checkpoint_every=2 dtype=f32 "$@"
}
works train run
artifact=$work/run/model.moec
works "$moec" pack "$work/run"

# ---- any change to what moec data made ----
for file in data_train_000000.bin data_train_000000.docs.tsv tokenizer.model; do
    rm -rf "$work/bad"
    cp -r "$work/data" "$work/bad"
    change "$work/bad/$file" 60 '\001'
    refuses 1 "$work/bad/$file: truncated or corrupted: expected CRC-64" train new data="$work/bad"
    rm "$work/bad/$file"
    [ "$file" = data_train_000000.docs.tsv ] || refuses 1 "$work/bad" train new data="$work/bad"
done
for file in data_val_000000.bin data_val_000000.docs.tsv heldout.txt; do
    rm -rf "$work/bad"
    cp -r "$work/data" "$work/bad"
    change "$work/bad/$file" 60 '\001'
    refuses 1 "$work/bad/$file: truncated or corrupted: expected CRC-64" "$moec" eval "$artifact" --data "$work/bad"
done
change "$work/bad/data.json" 60 '\001'
refuses 1 "$work/bad/data.json: " train new data="$work/bad"
absent "$work/new"

# ---- shards without a data.json that has their checksums ----
shard_case() { # MESSAGE [val], after the training and the held-out shard were changed alike
    [ "${2:-}" = val ] || refuses 1 "$work/bad/data_train_000000.bin: $1" train new data="$work/bad"
    absent "$work/new"
    refuses 1 "$work/bad/data_val_000000.bin: $1" "$moec" eval "$artifact" --data "$work/bad"
}
each_shard() { # COMMAND ARGUMENTS…: on a fresh copy of both shards
    rm -rf "$work/bad"
    cp -r "$work/data" "$work/bad"
    rm "$work/bad/data.json"
    for part in train val; do "$1" "$work/bad/data_${part}_000000.bin" "$2" "$3"; done
}
each_shard change 0 '\001'
shard_case "expected the shard magic 20240520 (16-bit tokens) or 20240801 (32-bit tokens), found "
each_shard change 4 '\002'
shard_case "expected shard version 1, found 2"
each_shard change 8 '\007'
shard_case "expected " # and the header's tokens beside the file's bytes
grep -q "bytes for the header's [0-9]* tokens, found" "$work/err" || complain "no counts: $(cat "$work/err")"
each_shard shorten 100
shard_case "expected $(wc -c <"$work/data/data_val_000000.bin" | tr -d ' ') bytes" val
each_shard change 1200 '\377\377'
shard_case "expected token ids below the vocabulary's 320, found 65535 at token 88"
refuses 1 "expected a shard with a header of 1024 bytes, found 0" "$moec" eval "$artifact" --data "$work/empty"
refuses 1 "expected at least 100001 tokens" train new seq=100000
absent "$work/new"
refuses 2 "vocab_size: expected at least 320, the tokens of $work/data/tokenizer.model, found 319" train new vocab_size=319
refuses 1 "expected a SentencePiece model" train new tokenizer="$work/text/1.txt"
rm -rf "$work/bad"
cp -r "$work/data" "$work/bad"
rm "$work/bad/data.json"
shorten "$work/bad/data_val_000000.docs.tsv" 5
refuses 1 "data_val_000000.docs.tsv:4: expected a line end" "$moec" eval "$artifact" --data "$work/bad"
echo more >>"$work/bad/heldout.txt"
cp "$work/data/data_val_000000.docs.tsv" "$work/bad"
refuses 1 "$work/bad/heldout.txt: expected " "$moec" eval "$artifact" --data "$work/bad"

# ---- configurations ----
refuses 2 "unknown key matrx_lr; the nearest is matrix_lr" train new matrx_lr=1
refuses 2 "steps: expected an integer" train new steps=many
refuses 2 "matrix_lr: expected a number from 0 to 10, found \`nan\`" train new matrix_lr=nan
refuses 2 "num_heads: expected a divisor of model_dim 65" train new model_dim=65
refuses 2 "num_kv_heads: expected a divisor of num_heads 2, found 3" train new num_kv_heads=3
refuses 2 "rope_dims: expected an even number" train new rope_dims=7
refuses 1 "found nothing at $work/nowhere: \`moec data $work/nowhere --domain" train new data="$work/nowhere"
grep -q '`./run demo`' "$work/err" || complain "no word of ./run demo: $(cat "$work/err")"
refuses 1 "$work/empty-folder/tokenizer.model: no such file or folder" train new data="$work/empty-folder"
refuses 2 "not YAML" "$moec" train README.md
refuses 1 "$artifact: expected a preset" "$moec" train "$artifact"
absent "$work/new"

# ---- artifacts ----
damaged() { # MESSAGE
    for command in eval generate inspect; do refuses 1 "$work/bad.moec: $1" "$moec" $command "$work/bad.moec"; done
}
bytes=$(wc -c <"$artifact")
cp "$artifact" "$work/bad.moec" && shorten "$work/bad.moec" 10
damaged "truncated or damaged: expected $bytes bytes, found $((bytes - 10))"
cp "$artifact" "$work/bad.moec" && change "$work/bad.moec" 9000 'damage'
damaged "damaged: expected checksum"
cp "$artifact" "$work/bad.moec" && change "$work/bad.moec" 4 '\005'
damaged "expected artifact version 1 to 4, found version 5: a newer moec wrote it"
: >"$work/bad.moec"
damaged 'expected an artifact (magic "MOEC")'

# ---- checkpoints ----
for file in config.json model.safetensors ema.safetensors optimizer.safetensors tokenizer.model config.yaml; do
    fresh copy
    shorten "$checkpoint/$file" 7
    refuses 1 "$checkpoint/$file: truncated or corrupted: expected CRC-64" train copy --resume
    refuses 1 "$checkpoint/$file: truncated or corrupted: expected CRC-64" "$moec" pack "$work/copy"
    cp "$work/run/checkpoints/step-00000004/$file" "$checkpoint/$file"
    works train copy --resume
done
for file in model ema config; do # what evaluation reads: also when it is gone, which is not the same as having no average
    fresh copy
    rm "$checkpoint/$file".[jsy]*
    refuses 1 "$checkpoint/$file." "$moec" eval "$work/copy"
done
fresh copy
: >"$checkpoint/config.yaml"
for command in eval inspect; do refuses 1 "$checkpoint/config.yaml: truncated" "$moec" $command "$work/copy"; done
fresh copy
sed -i 's/\("format_version":[^0-9]*\)3/\14/' "$checkpoint/checkpoint.json"
for command in eval generate pack inspect; do
    refuses 1 "checkpoint.json: format version 4, but this moec reads version 3" "$moec" $command "$work/copy"
done
refuses 2 "model_dim 32 -> 64; --allow-changes" train run --resume model_dim=64
works train run --resume # finished already

# ---- a weight that is not a number, under checksums that hold: what moec says it found is put in their place ----
fresh copy
rm -r "$work/copy/checkpoints/step-00000002"
for file in model ema; do change "$checkpoint/$file.safetensors" 100000 '\000\000\300\177'; done
for file in model ema checkpoint; do
    "$moec" pack "$work/copy" >"$work/out" 2>"$work/err"
    sums=$(sed -n 's/.*expected CRC-64 \([0-9a-f]*\), found \([0-9a-f]*\)$/s\/\1\/\2\//p' "$work/err")
    # The record's own sum covers the others, so it comes wrong first and is put right in each round.
    sed -i "$sums" "$checkpoint/checkpoint.json"
    "$moec" pack "$work/copy" >"$work/out" 2>"$work/err"
    sums=$(sed -n 's/.*expected CRC-64 \([0-9a-f]*\), found \([0-9a-f]*\)$/s\/\1\/\2\//p' "$work/err")
    [ -z "$sums" ] || sed -i "$sums" "$checkpoint/checkpoint.json"
done
refuses 1 "the loss is not finite" train copy --resume steps=8 # more steps are no other run
grep -q "the checkpoint of step 4 .* is whole" "$work/err" || complain "no word of the checkpoint: $(cat "$work/err")"
[ "$(ls "$work/copy/checkpoints")" = step-00000004 ] || complain "a loss of NaN changed the checkpoints"
refuses 1 "weight: row " "$moec" pack "$work/copy"
absent "$work/copy/none.moec"
refuses 1 "logits behind token " "$moec" generate "$work/copy" hello
refuses 1 "the model's loss is not finite" "$moec" eval "$work/copy"
absent "$work/copy/summary.json"

# ---- paths that are something else ----
for command in eval generate inspect pack; do
    refuses 1 "$work/nowhere: " "$moec" $command "$work/nowhere"
    refuses 1 "$work/empty-folder: " "$moec" $command "$work/empty-folder"
    refuses 1 "$work/data: " "$moec" $command "$work/data"
done
for command in eval generate pack; do
    refuses 1 "$work/empty: expected" "$moec" $command "$work/empty"
    refuses 1 "/dev/null: expected" "$moec" $command /dev/null
done
for path in nowhere empty-folder empty; do refuses 1 "$work/$path/config.json" "$moec" verify "$work/$path"; done
refuses 2 "PROMPT: expected UTF-8 text, found the byte 0xFF at byte offset 1" \
    "$moec" generate "$artifact" "$(printf 'a\377')"

# ---- what cannot be written, before the work: nothing takes the place of a pipe or a device ----
cp "$artifact" "$work/before"
mkfifo "$work/pipe"
refuses 1 "$work/pipe: expected a file to replace or nothing, found a pipe" "$moec" pack "$work/run" -o "$work/pipe"
[ -p "$work/pipe" ] || complain "a file took the place of a pipe"
refuses 1 "$work/text: expected a file to replace or nothing, found a folder" "$moec" pack "$work/run" -o "$work/text"
refuses 1 "$work/nowhere/x: cannot create" "$moec" pack "$work/run" -o "$work/nowhere/x"
refuses 1 "expected at most 100 bytes (the budget)" "$moec" pack "$work/run" --uniform --budget 100
refuses 1 "expected a budget of at least about" "$moec" pack "$work/run" -o "$work/none.moec" --budget 100
for budget in 16X 5kk -5 1e30 Mi nanM; do
    refuses 2 "--budget: expected bytes from 0 to 9223372036854775807, such as 16000000, 150M, 1.5GB or 64KiB, found \`$budget\`" \
        "$moec" pack "$work/run" --budget $budget
done
refuses 2 "--tune: expected a number from 0 to 100000, found \`soon\`" "$moec" pack "$work/run" --tune soon
refuses 2 "--tune-steps: expected" "$moec" pack "$work/run" --tune-steps -3
for option in step embed-step; do
    refuses 2 "--$option: expected a number from 0 to 1, found \`1.5\`" "$moec" pack "$work/run" --$option 1.5
done
MOEC_FAIL_WRITE_AFTER=9000 refuses 1 "$artifact: cannot write beyond byte 9000: No space left" "$moec" pack "$work/run"
cmp "$work/before" "$artifact" || complain "a pack that failed changed the artifact"
for limit in 0 5000 20000; do
    MOEC_FAIL_WRITE_AFTER=$limit refuses 1 "No space left on device" \
        "$moec" data "$work/full" --domain "text=$work/text" --vocab 320
done
for leftover in "$work"/*.tmp-* "$work"/run/*.tmp-* "$work/full"; do absent "$leftover"; done

# ---- Ctrl-C while it speaks, and nobody who listens ----
: >"$work/out" # what the last one said must not count
"$moec" generate "$artifact" 'the cat' --tokens 1000000 --temperature 0 >"$work/out" 2>"$work/err" &
child=$!
until [ "$(wc -c <"$work/out")" -gt 50 ] || ! kill -0 "$child" 2>"$work/dd"; do sleep 0.02; done
kill -INT "$child"
wait "$child"
[ $? -eq 130 ] || complain "generate: expected exit 130 after an interruption: $(cat "$work/err")"
for command in "inspect '$artifact'" "generate '$artifact' hello --tokens 5" --version 'train --keys'; do
    refuses 1 "stdout: cannot write: " sh -c "'$moec' $command >&-"
    [ ! -c /dev/full ] || refuses 1 "stdout: cannot write: No space left" sh -c "'$moec' $command >/dev/full"
done

# ---- a closed stderr: what is meant for it does not end in the file that is opened next ----
train quiet steps=2 log_every=1 checkpoint_every=1 >"$work/out" 2>&- || complain "no training without a stderr"
grep -v '^{"record":' "$work/quiet/log.jsonl" && complain "lines for stderr are in the log"
: >"$work/out" # what the last one said must not count
"$moec" generate "$artifact" 'the cat' --tokens 1000000 --temperature 0 >"$work/out" 2>&- <&- &
child=$!
until [ "$(wc -c <"$work/out")" -gt 50 ] || ! kill -0 "$child" 2>"$work/dd"; do sleep 0.02; done
for descriptor in 0 2; do
    [ "$(readlink "/proc/$child/fd/$descriptor")" = /dev/null ] || complain "descriptor $descriptor is a file"
done
kill -INT "$child"
wait "$child"

# ---- a partial look is not the run's result ----
works "$moec" eval "$work/run"
cp "$work/run/summary.json" "$work/summary"
for key in val_bpb_live val_bpb_ema val_bpb_packed val_bpb_packed_blend quant_gap artifact_bytes xz_bpb train_tokens \
    tokens_per_second seconds; do
    grep -q "\"$key\":[^a-z]*[0-9]" "$work/summary" || complain "summary.json has no number $key"
done
works "$moec" eval "$work/run" --tokens 50
cmp "$work/summary" "$work/run/summary.json" || complain "eval --tokens changed the summary"
grep -q 'xz' "$work/out" && complain "a part of the text beside xz of the whole"

[ "$failures" -eq 0 ]
