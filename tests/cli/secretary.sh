# moec route, generate --secretary, --expert and --omit, export --expert: of a mixture whose routers were taught two domains.
# usage: secretary.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/domains.sh"

make_domains
train_named 32

number() { # KEY: of the JSON in $work/out
    sed -n "s/.*\"$1\":[[:space:]]*\"\{0,1\}\([^\",]*\).*/\1/p" "$work/out"
}
same() { cmp -s "$1" "$2" || complain "$1 and $2 differ: $(cat "$1") | $(cat "$2")"; }
# greedy MODEL PROMPT options…: what the model goes on with, in $work/out
greedy() {
    model=$1 text=$2
    shift 2
    expect 0 generate "$model" "$text" --tokens 24 --temperature 0 --dtype f32 "$@"
}

# ---- which expert a prompt needs: text that no training saw ----
words='my sister sees nobody, and a dog likes the old man.' digits='7654 7655 7656 7657 7658'
expect 0 route "$work/named" "$words" --json
[ "$(number expert)" = text ] || complain "route of words: $(cat "$work/out")"
expect 0 route "$work/named" "$digits" --json
[ "$(number expert)" = numbers ] || complain "route of digits: $(cat "$work/out")"
printf '%s\n\n%s\r\n' "$words" "$digits" >"$work/lines"
expect 0 route "$work/named" --prompt-file "$work/lines" --lines
[ "$(sed -n '2s/.* \(text\) .*/\1/p' "$work/out")" = text ] || complain "--lines, words: $(cat "$work/out")"
[ "$(sed -n '3s/.* \(numbers\) .*/\1/p' "$work/out")" = numbers ] || complain "--lines, digits: $(cat "$work/out")"
[ "$(wc -l <"$work/out")" -eq 3 ] || complain "--lines: $(cat "$work/out")"
expect 0 route "$work/named" "$digits" --layers 2
says out 'the layers [2]'
grep -Eq '^numbers .* <$' "$work/out" || complain "the table marks nothing: $(cat "$work/out")"
printf '%s' "$digits" | "$moec" route "$work/named" - >"$work/stdin" || complain "route -"
grep -Eq '^numbers .* <$' "$work/stdin" || complain "a prompt from stdin: $(cat "$work/stdin")"

# ---- and it alone is loaded ----
greedy "$work/named" "$digits" --secretary
says err 'the secretary takes numbers: numbers '
says err 'loaded 1 of 2 experts (numbers): '
cp "$work/out" "$work/asked"
greedy "$work/named" "$digits" --expert numbers
says err 'loaded 1 of 2 experts (numbers): '
same "$work/asked" "$work/out"
greedy "$work/named" "$digits" --omit text
same "$work/asked" "$work/out"
id=$(sed -n 's/.*"moe_expert_names":[[:space:]]*\["\([a-z]*\)".*/\1/p' "$work"/named/checkpoints/*/config.json)
[ "$id" = numbers ] && id=0 || id=1
greedy "$work/named" "$digits" --expert "$id"
same "$work/asked" "$work/out"
greedy "$work/named" "$digits" --secretary --omit numbers
says err 'the secretary takes text: '
greedy "$work/named" "$digits" --expert text,numbers
cp "$work/out" "$work/both"
greedy "$work/named" "$digits"
same "$work/both" "$work/out"
greedy "$work/named" "$words" --secretary --layers 1,2 --context 8
says err 'the secretary takes text: '

# ---- not all at a time ----
for most in 1 2 auto; do
    greedy "$work/named" "$digits" --hot-experts $most
    says err 'of the 2 experts of a layer at most '
    same "$work/both" "$work/out"
done
greedy "$work/named" "$words" --run-bits 8
cp "$work/out" "$work/codes"
greedy "$work/named" "$words" --run-bits 8 --hot-experts 1
same "$work/codes" "$work/out"

# ---- from an artifact, and from other people's formats, which keep the names ----
expect 0 pack "$work/named" -o "$work/named.moec"
greedy "$work/named.moec" "$digits" --secretary
says err 'loaded 1 of 2 experts (numbers): '
cp "$work/out" "$work/asked-packed"
greedy "$work/named.moec" "$digits" --expert numbers
same "$work/asked-packed" "$work/out"
expect 0 export "$work/named" -o "$work/hf" --to qwen2-moe
greedy "$work/hf" "$digits" --secretary
says err 'the secretary takes numbers: '
same "$work/asked" "$work/out"

# ---- cut out, it is an ordinary model ----
expect 0 export "$work/named" -o "$work/llama" --to llama --expert numbers
says out 'experts       numbers of the mixture'
says out 'MLPs          of 96 hidden units'
says out 'padded        the MLPs of 1 layer, from 48 units'
grep -q '"intermediate_size":[[:space:]]*96' "$work/llama/config.json" || complain "intermediate_size is not 96"
expect 0 export "$work/named" -o "$work/qwen2" --to qwen2 --expert numbers
expect 0 export "$work/named" -o "$work/cut.gguf" --to gguf --expert numbers
expect 0 export "$work/hf" -o "$work/cut-hf" --to qwen2 --expert numbers
for model in llama qwen2 cut.gguf cut-hf; do
    greedy "$work/$model" "$digits"
    same "$work/asked" "$work/out"
done
expect 0 export "$work/named" -o "$work/both-hf" --to qwen2-moe --expert numbers,text
greedy "$work/both-hf" "$digits"
same "$work/both" "$work/out"

# ---- experts that upcycling names, or prompts, or nobody ----
expect 0 upcycle "$work/llama" -o "$work/three" --tokens 0 experts=3 drop=0.5 router_std=1 names='[red, green, blue]'
expect 0 route "$work/three" "$words"
for name in red green blue; do grep -q "^$name " "$work/out" || complain "no $name: $(cat "$work/out")"; done
expect 0 upcycle "$work/llama" -o "$work/nameless" --tokens 0 experts=3 drop=0.5 router_std=1
expect 0 route "$work/nameless" "$words"
says out 'expert 2'
greedy "$work/nameless" "$words" --expert 2,0
says err 'loaded 2 of 3 experts (expert 0, expert 2): '
expect 0 export "$work/nameless" -o "$work/second" --to llama --expert 2
says out "experts       expert 2 of the mixture's 3"
cat >"$work/prompts.yaml" <<END
experts:
  - {name: cats, prompts: [the cat sees, the cat likes]}
  - {name: dogs, prompts: [a dog sees 3 birds]}
shared: {prompts: [number]}
END
expect 0 upcycle "$work/llama" -o "$work/gated" --tokens 0 router=hidden prompts="$work/prompts.yaml" experts=2 shared_gate=true
expect 0 route "$work/gated" "$words"
says out 'cats'

# ---- what is refused ----
refused() { # PATTERN arguments…
    pattern=$1
    shift
    expect 2 "$@"
    [ "$(wc -l <"$work/err")" -eq 1 ] || complain "not one line: $(cat "$work/err")"
    grep -Eq -e "$pattern" "$work/err" || complain "\"$pattern\" is not said: $(cat "$work/err")"
}
refused 'found .poet.: the experts are (text, numbers|numbers, text)$' generate "$work/named" x --expert poet
refused 'found ..: the experts are' generate "$work/named" x --expert numbers,
refused 'found .3.: the experts are expert 0, expert 1, expert 2, by their numbers$' generate "$work/nameless" x --omit 3
refused 'at least one expert that is left' generate "$work/named" x --omit text,numbers
refused '--expert and --omit exclude' generate "$work/named" x --omit text --expert text
refused '--expert and --secretary exclude' generate "$work/named" x --secretary --expert text
refused '--layers: expected --secretary' generate "$work/named" x --layers 1
refused 'layers with experts, found 0' generate "$work/named" x --secretary --layers 0
refused 'numbers of layers from 0 to 2, such as 4,5, found .3.' route "$work/named" x --layers 3
refused 'numbers of layers from 0 to 2' route "$work/named" x --layers 1,
refused 'expected a PROMPT or --prompt-file' route "$work/named"
refused 'exclude each other' route "$work/named" x --prompt-file "$work/lines"
printf '\n\n' >"$work/blank"
refused 'a line that is not empty' route "$work/named" --lines --prompt-file "$work/blank"
refused 'hot-experts: expected neither --expert, --omit nor --secretary' generate "$work/named" x --hot-experts 1 --secretary
refused 'hot-experts: expected an integer from 1' generate "$work/named" x --hot-experts many
refused 'found .poet.' export "$work/named" -o "$work/none" --to llama --expert poet
for option in --secretary "--expert 0" "--omit 0"; do
    expect 1 generate "$work/llama" x $option
    says err "${option% 0}: expected a model with experts, found a dense one"
done
expect 1 generate "$work/llama" x --hot-experts 2
says err 'hot-experts: expected a model with experts, found a dense one'
expect 1 generate "$work/named.moec" x --hot-experts 2
says err 'found an artifact'
expect 1 route "$work/llama" x
says err 'expected a model with experts, found a dense one'
expect 1 export "$work/llama" -o "$work/none" --to llama --expert 0
says err 'found a dense one'
expect 1 export "$work/gated" -o "$work/none" --to llama --expert dogs
says err 'layer 0: its shared MLP has a gate that looks at each token'
expect 1 route "$work/absent" x
says err 'absent'
[ ! -e "$work/none" ] || complain "something was left behind"

[ "$failures" -eq 0 ]
