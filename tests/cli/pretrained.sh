# moec upcycle and export: a Llama that moec trained goes out to Hugging Face's folders and GGUF files and comes back the same, and
# so does a mixture made of it; wrong arguments; what is stopped leaves nothing.
# usage: pretrained.sh MOEC
. "$(dirname "$0")/common/strict.sh"
. "$(dirname "$0")/common/llama.sh"

says() {
    grep -qF -e "$1" "$work/err" || die "the message does not name \"$1\": $(cat "$work/err")"
}
same() {
    cmp -s "$1" "$2" || die "$1 and $2 differ"
}
# Nothing in the scratch folder begins with $1.
gone() {
    for left in "$work/$1"*; do
        [ ! -e "$left" ] || die "$left was left behind"
    done
}
export_to() {
    expect 0 "$moec" export "$work/$1" -o "$work/$2" --to "$3" ${4-}
}

# ---- a Llama of moec's own ----
write_text "$work/text" 40
expect 0 "$moec" data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
write_llama false 6 0
expect 0 "$moec" train "$work/llama.yaml"

# ---- out and in, and out again: the same bytes ----
export_to run llama llama
export_to llama again llama
same "$work/llama/model.safetensors" "$work/again/model.safetensors"
for folder in llama again; do
    grep -v _token_id "$work/$folder/config.json" >"$work/$folder.json" # the tokenizer's, which a folder without one has not
done
same "$work/llama.json" "$work/again.json"
export_to run run.gguf gguf
export_to run.gguf from-gguf llama
same "$work/llama/model.safetensors" "$work/from-gguf/model.safetensors"
export_to llama again.gguf gguf
export_to again.gguf from-again llama
same "$work/llama/model.safetensors" "$work/from-again/model.safetensors"
export_to llama qwen2 qwen2
export_to qwen2 qwen2-again qwen2
same "$work/qwen2/model.safetensors" "$work/qwen2-again/model.safetensors"
export_to llama half llama "--type bf16"
[ "$(wc -c <"$work/half/model.safetensors")" -lt "$(wc -c <"$work/llama/model.safetensors")" ] || die "bf16 is no smaller"

# ---- and the tokenizer goes along ----
for model in run llama again run.gguf from-gguf again.gguf from-again; do
    expect 0 "$moec" tokenize "$work/$model" "$work/text/1.txt"
    cp "$work/out" "$work/ids-$model"
    same "$work/ids-run" "$work/ids-$model"
    expect 0 "$moec" tokenize "$work/$model" --decode "$work/ids-$model"
    same "$work/text/1.txt" "$work/out"
done
expect 0 "$moec" data "$work/same" --domain "text=$work/text" --heldout 0.1 --tokenizer "$work/run.gguf"
same "$work/data/data_val_000000.bin" "$work/same/same_val_000000.bin"
grep -q '"eos_token_id":[[:space:]]*2' "$work/llama/config.json" || die "config.json does not say how texts end"
expect 0 "$moec" export "$work/run" -o "$work/alone.gguf" --to gguf --no-tokenizer
expect 1 "$moec" tokenize "$work/alone.gguf" "$work/text/1.txt"
says 'expected a tokenizer in its metadata, found none'

# ---- a mixture that computes its parent ----
number() { # of the receipt in $work/out
    sed -n "s/.*\"$1\":[[:space:]]*\([-0-9.e+]*\).*/\1/p" "$work/out"
}
# To the last bit; but with AVX2 alone a row's sum depends on how many are beside it.
has_its_logits() {
    case "$(number logits_largest_difference)" in
    0) ;;
    ?.*e-0[6-9]) ! grep -q avx512f /proc/cpuinfo ;;
    *) false ;;
    esac
}
expect 0 "$moec" pack "$work/llama" -o "$work/llama.moec" --uniform --round
grep -q 'of the budget of' "$work/out" && die "a model of no run has the budget of a run"
expect 0 "$moec" upcycle "$work/llama" -o "$work/moe" --json experts=4 shared=1 top_k=2 gates=probability
has_its_logits || die "the mixture of a folder is not its parent: $(cat "$work/out")"
[ "$(number expert_cosine)" = 1 ] || die "copies of one MLP are not alike"
[ "$(number compared_tokens)" -gt 0 ] || die "nothing was compared"
for parent in run run.gguf; do
    expect 0 "$moec" upcycle "$work/$parent" -o "$work/moe-$parent" --json experts=4 shared=1 top_k=2 gates=probability
    has_its_logits || die "the mixture of $parent is not its parent"
done
same "$work/moe/model.safetensors" "$work/moe-run.gguf/model.safetensors"
expect 0 "$moec" upcycle "$work/llama" -o "$work/dropped" --json drop=0.5
case "$(number logits_largest_difference)" in 0 | 0.0000*) die "half of the units are new, and nothing changed" ;; esac
expect 0 "$moec" upcycle "$work/llama" "$work/from-gguf" -o "$work/two" experts=2 shared=0 attention=average type=bf16 --tokens 0
grep -q 'and others' "$work/out" || die "the receipt does not say that there were several parents"

# ---- routers that know something ----
cat >"$work/prompts.yaml" <<END
experts:
  - {name: cats, prompts: [the cat sees, the cat likes], negative: [nobody]}
  - {name: dogs, prompts: [a dog sees 3 birds]}
shared: {prompts: [number]}
END
for router in hidden hidden_avg cheap_embed; do
    expect 0 "$moec" upcycle "$work/run" -o "$work/$router" --json router=$router prompts="$work/prompts.yaml" experts=2 shared_gate=true
    [ "$(number compared_tokens)" -gt 0 ] || die "nothing was compared"
done
expect 0 "$moec" upcycle "$work/run" -o "$work/cluster" --json --text "$work/text/1.txt" router=cluster
case "$(number logits_largest_difference)" in 0 | ?.*e-0[6-9]) ;; *) die "gates divided by their sum: $(cat "$work/out")" ;; esac
expect 2 "$moec" upcycle "$work/run" -o "$work/none" router=hidden prompts="$work/prompts.yaml" experts=3
says 'prompts.yaml'
cp -r "$work/llama" "$work/bare"
rm -f "$work/bare/tokenizer"*
expect 1 "$moec" upcycle "$work/bare" -o "$work/none" router=hidden prompts="$work/prompts.yaml" experts=2
says 'no tokenizer'
expect 1 "$moec" upcycle "$work/bare" -o "$work/none" --text "$work/text/1.txt"
says 'no tokenizer'
: >"$work/empty"
expect 1 "$moec" upcycle "$work/run" -o "$work/none" --text "$work/empty"
says 'empty: expected a text of at least one token'
expect 0 "$moec" upcycle "$work/run" -o "$work/long" --json --text "$work/text/1.txt" --tokens 100 # in sequences of 32
[ "$(number compared_tokens)" = 100 ] || die "expected 100 tokens to be compared: $(cat "$work/out")"

# ---- and goes out and in ----
export_to moe hf-moe qwen2-moe
export_to hf-moe hf-moe-again qwen2-moe
same "$work/hf-moe/model.safetensors" "$work/hf-moe-again/model.safetensors"
export_to moe moe.gguf gguf
expect 0 "$moec" export "$work/moe.gguf" -o "$work/moe-back" --to qwen2-moe
expect 0 "$moec" export "$work/two" -o "$work/mixtral" --to mixtral --type bf16
export_to mixtral two.gguf gguf "--type q8_0"
expect 0 "$moec" inspect "$work/moe"

# ---- an upcycled one is refused as a parent, and what a format cannot hold ----
expect 1 "$moec" upcycle "$work/moe" -o "$work/none"
says 'the parent is a mixture already'
expect 1 "$moec" export "$work/moe" -o "$work/none" --to llama
says 'experts: expected none'
expect 1 "$moec" export "$work/hf-moe" -o "$work/none" --to mixtral
says 'what mixtral can hold'
expect 1 "$moec" upcycle "$work/llama" "$work/qwen2" -o "$work/none"
says 'parent 2'
gone none

# ---- wrong arguments ----
expect 2 "$moec" upcycle "$work/llama"
says '-o OUT'
expect 2 "$moec" upcycle -o "$work/none"
expect 2 "$moec" upcycle experts=4 -o "$work/none"
says 'expected a parent before keys'
expect 2 "$moec" upcycle "$work/llama" -o "$work/none" expert=4
says 'experts'
expect 2 "$moec" upcycle "$work/llama" -o "$work/none" top_k=5
says 'top_k: expected 1 to experts 4, found 5'
expect 2 "$moec" upcycle "$work/llama" -o "$work/none" layers='[3]'
says "layers: expected layers below the parent's 3, found 3"
expect 2 "$moec" upcycle "$work/llama" -o "$work/none" router=hidden
says 'prompts'
expect 2 "$moec" upcycle "$work/llama" -o "$work/none" router=cluster
says '--text'
expect 2 "$moec" upcycle "$work/llama" -o "$work/none" --tokens -1
says '--tokens'
expect 2 "$moec" upcycle "$work/llama" -o "$work/llama"
says 'something is there already'
expect 1 "$moec" upcycle "$work/absent" -o "$work/none"
says 'absent'
expect 1 "$moec" upcycle "$work/data" -o "$work/none"
says 'data'
expect 2 "$moec" export "$work/llama" -o "$work/none"
says '--to'
expect 2 "$moec" export "$work/llama" -o "$work/none" --to bert
says 'bert'
expect 2 "$moec" export "$work/llama" -o "$work/none" --to llama --type q8_0
says '--type'
expect 2 "$moec" export "$work/llama" -o "$work/none" --to llama --family llama
says '--family'
expect 2 "$moec" export "$work/llama" -o "$work/moe.gguf" --to gguf
says 'something is there already'
expect 2 "$moec" export "$work/llama" -o "$work/none" --to gguf --ema
says '--ema'
expect 1 "$moec" export "$work/run" -o "$work/none" --to llama --ema
says 'averaged weights'
gone none

# ---- damage is named ----
cp -r "$work/llama" "$work/cut"
head -c 20000 "$work/llama/model.safetensors" >"$work/cut/model.safetensors"
expect 1 "$moec" upcycle "$work/cut" -o "$work/none"
says 'cut/model.safetensors'
head -c 9000 "$work/run.gguf" >"$work/cut.gguf"
expect 1 "$moec" export "$work/cut.gguf" -o "$work/none" --to llama
says 'cut.gguf'
gone none

# ---- a full disk and Ctrl-C leave nothing ----
expect 1 env MOEC_FAIL_WRITE_AFTER=30000 "$moec" upcycle "$work/llama" -o "$work/none"
says 'none'
expect 1 env MOEC_FAIL_WRITE_AFTER=30000 "$moec" export "$work/llama" -o "$work/none" --to qwen2
says 'none'
expect 1 env MOEC_FAIL_WRITE_AFTER=30000 "$moec" export "$work/llama" -o "$work/none.gguf" --to gguf
says 'none'
gone none

# has_begun OUT: what becomes OUT is there under its temporary name
has_begun() {
    for part in "$work/$1.tmp-"*; do
        [ ! -e "$part" ] || return 0
    done
    return 1
}
# stopped OUT command…: Ctrl-C when it has begun to write OUT; again where it was done before that
stopped() {
    out=$1
    shift
    for try in 1 2 3 4 5 6 7 8 9 10; do
        "$@" >"$work/out" 2>"$work/err" &
        child=$!
        until has_begun "$out" || ! kill -0 "$child" 2>/dev/null; do :; done
        kill -INT "$child" 2>/dev/null || :
        code=0
        wait "$child" || code=$?
        [ "$code" -eq 0 ] || break
        rm -rf "${work:?}/$out"
    done
    [ "$code" -eq 130 ] || die "expected exit 130 after an interruption, found $code: $*"
    [ ! -s "$work/out" ] || die "it says that it is done: $(cat "$work/out")"
    gone "$out"
}
# POSIX lets a shell's background jobs ignore SIGINT; interrupt_catch sets it anew.
stopped none "$moec" upcycle "$work/llama" -o "$work/none" experts=512 drop=1
expect 0 "$moec" upcycle "$work/llama" -o "$work/wide" experts=512 shared=64 gates=probability --tokens 0
stopped none "$moec" export "$work/wide" -o "$work/none" --to qwen2-moe
stopped none.gguf "$moec" export "$work/wide" -o "$work/none.gguf" --to gguf --type q8_0
