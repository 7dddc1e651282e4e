# moec compare: models beside one another on the same text, whatever their tokenizers; refuses what cannot be opened before any
# long work, and leaves nothing behind after Ctrl-C.
# usage: compare.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() { grep -qF -e "$2" "$work/$1" || die "$1 lacks \"$2\""; }
one_line() { [ "$(wc -l <"$work/err")" -eq 1 ] || die "not one line: $(cat "$work/err")"; }

write_text "$work/text" 60
write_text "$work/more" 30
for file in "$work/more"/*; do tr 'a-y' 'b-z' <"$file" >"$file.txt" && rm "$file"; done
for vocab in 320 300; do
    expect 0 "$moec" data "$work/data-$vocab" --domain "text=$work/text" --domain "code=$work/more" --vocab $vocab --heldout 0.3
done
tiny="model_dim=32 rope_dims=8 batch=2 seq=32 eval_stride=32 dtype=f32 calibration_batches=2"
train() { expect 0 "$moec" train configs/test-tiny.yaml $tiny data="$work/data-$1" vocab_size="$1" run="$work/$2" steps="$3"; }
train 320 short 2
train 320 long 60
train 300 other 60
expect 0 "$moec" pack "$work/long"
data=$work/data-320

# ---- what cannot be ----
expect 2 "$moec" compare "$work/long" --data "$data"
says err "expected at least 2 arguments, found 1"
expect 2 "$moec" compare "$work/long" "$work/short"
says err "compare: expected either --data or --text, found neither"
one_line
expect 2 "$moec" compare "$work/long" "$work/short" --data "$data" --text README.md
says err "found both"
expect 2 "$moec" compare "$work/long" "$work/short" --data "$data" --samples 0 --prompts README.md
says err "--prompts: expected --samples of at least 1"
expect 1 "$moec" compare "$work/long" "$work/lnog" --data "$data"
says err "$work/lnog: no such file or folder; the nearest is"
one_line
: >"$work/empty.txt"
expect 2 "$moec" compare "$work/long" "$work/short" --data "$data" --prompts "$work/empty.txt"
says err "empty.txt: expected a prompt a line, found none"
expect 2 "$moec" compare "$work/long" "$work/short" --data "$data" --token 5
says err "--tokens"
# The last model is broken: known before the first is measured.
head -c 3000 "$work/long/model.moec" >"$work/broken.moec"
expect 1 "$moec" compare "$work/long" "$work/short" "$work/broken.moec" --data "$data" -o "$work/none"
says err "$work/broken.moec: "
one_line
# Without the text no other tokenizer's tokens can be made.
expect 1 "$moec" compare "$work/long" "$work/other" --data "$data/data-320_val_000000.bin" -o "$work/none"
says err "$work/other: "
says err "another tokenizer"
one_line
[ ! -e "$work/none" ] || die "a refused comparison left something"

# ---- three models, two tokenizers ----
printf 'the cat\n\nnobody sees 3 birds\n' >"$work/prompts.txt"
expect 0 "$moec" compare "$work/short" "$work/long/" "$work/long/model.moec" "$work/other" --data "$data" --tokens 0 \
    --prompts "$work/prompts.txt" --samples 2 --new-tokens 20 -o "$work/out-folder"
says out " short |"
says out "checkpoint of step 60, "
says out "artifact |"
says out "not known" # of the artifact's, whose run is known, and of the other data's
says out "The models' tokens are not the same"
[ "$(tail -n 1 "$work/err")" = "results in $work/out-folder: compare.md, compare.json$(
    command -v gnuplot >/dev/null && echo ', compare.svg')" ] || die "results: $(tail -n 1 "$work/err")"
# 58 steps more are better, and surely.
grep -q '^| all .* -[0-9.]* ± [0-9.]* better |' "$work/out" || die "58 steps are not better: $(grep '^| all' "$work/out")"
says out "documents |"
grep -q '^### Prompt 2, seed 2$' "$work/out-folder/compare.md" || die "compare.md lacks samples"
[ "$(grep -c 'nobody sees 3 birds' "$work/out-folder/compare.md")" -ge 2 ] || die "compare.md lacks prompts"
if command -v gnuplot >/dev/null; then
    grep -q '</svg>' "$work/out-folder/compare.svg" || die "no plot"
    grep -q 'compare.svg' "$work/out-folder/compare.md" || die "compare.md does not show its plot"
fi
# The whole text's figure is that of moec eval, with windows half of which are new.
bpb=$(grep -o '"bpb":[^,]*' "$work/out-folder/compare.json" | head -n 1 | tr -d '"bp:\t')
expect 0 "$moec" eval "$work/short/checkpoints/step-00000002" --data "$data" --stride 16 --json
grep -q "\"all\":[^0-9]*$(echo "$bpb" | cut -c 1-8)" "$work/out" || die "eval has another figure than $bpb: $(cat "$work/out")"

# ---- the same again gives the same; a sample, files, JSON ----
compare() { expect 0 "$moec" compare "$work/long" "$work/other" --text "$work/text/1.txt" --text "$work/prompts.txt" --json "$@"; }
figures() { grep -oE '"(bpb|perplexity|mean|error|text|verdict|repeated_4_grams)":.*' "$work/out"; }
compare --tokens 100
figures >"$work/first"
compare --tokens 100
figures >"$work/second"
cmp -s "$work/first" "$work/second" || die "the same comparison gives other figures"
says out '"1.txt":'
says out '"whole":	false'
[ "$(grep -c '"prefill_tokens_per_second"' "$work/out")" -eq 2 ] || die "not two speeds"
expect 0 "$moec" compare "$work/long" "$work/long" --data "$data" --samples 0
says out "+0.0000 ± 0.0000 even"
grep -q 'what they write' "$work/out" && die "--samples 0 wrote something"
mkdir "$work/empty"
PATH=$work/empty expect 0 "$moec" compare "$work/long" "$work/short" --data "$data" --samples 0 -o "$work/plain"
says err "compare: no plots: gnuplot is not installed"
[ -s "$work/plain/compare.md" ] || die "no table without gnuplot"

# ---- a pretrained model's kinds of files: what is exported is the same model ----
cat >"$work/llama.yaml" <<END
base: $PWD/configs/test-tiny.yaml
model: {activation: swiglu, norm_weight: true, rope_dims: 0, rope_style: halves, stem_norm: false, smear_width: 0,
        bigram_buckets: 0, bigram_dim: 128, hash_projection: false, qk_norm: none, q_gain: false, xsa: false, ln_scale: false,
        resid_mix: false, attn_scale: false, mlp_scale: false, unet: false, num_loops: 0, parallel_start_layer: 4,
        logit_softcap: 0, document_attention: false, moe_layers: []}
events: []
END
expect 0 "$moec" train "$work/llama.yaml" data="$data" vocab_size=320 run="$work/llama" steps=4 model_dim=32 batch=2 seq=32 \
    eval_stride=32 dtype=f32
expect 0 "$moec" export "$work/llama" -o "$work/llama.gguf" --to gguf --type f32
expect 0 "$moec" export "$work/llama" -o "$work/llama-hf" --to llama --type f32
expect 0 "$moec" compare "$work/llama" "$work/llama.gguf" "$work/llama-hf" --data "$data" --seq 32 --new-tokens 10 --dtype f32
says out "GGUF file |"
says out "Hugging Face folder |"
grep -q '^| all .* [+-]0.0000 ± 0.0000 [a-z]* | *[+-]0.0000 ± 0.0000 [a-z]* |' "$work/out" || die "$(grep '^| all' "$work/out")"

# ---- where the report cannot go is said before anything is measured ----
expect 1 "$moec" compare "$work/long" "$work/short" --data "$data" -o "$work/llama.yaml"
one_line
says err "llama.yaml: expected a folder, found a file"
expect 2 "$moec" compare "$work/long" "$work/short" --data "$data" -o ""
one_line
says err "expected the name of a folder, found an empty one"

# ---- Ctrl-C ----
"$moec" compare "$work/long" "$work/short" --data "$data" --samples 1000 --new-tokens 2000 -o "$work/none" >"$work/out" 2>"$work/err" &
child=$!
until grep -q 'model 1 of 2' "$work/err"; do
    kill -0 "$child" 2>/dev/null || die "compare ended early"
    sleep 0.05
done
sleep 0.2
kill -INT "$child"
code=0
wait "$child" || code=$?
[ "$code" -eq 130 ] || die "expected exit 130 after an interruption, found $code"
says err "interrupted"
[ ! -e "$work/none" ] || die "an interrupted comparison left something"
