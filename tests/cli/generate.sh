# moec generate: where a prompt comes from, several texts, prompts beyond the trained context, Ctrl-C. $1: moec
. "$(dirname "$0")/common/lenient.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
expect 0 train configs/test-tiny.yaml data="$work/data" run="$work/run" vocab_size=320 batch=2 seq=32 eval_stride=32 \
    steps=3 checkpoint_every=0 dtype=f32
expect 0 pack "$work/run"
model=$work/run/model.moec
lacks() { ! grep -qF -e "$2" "$work/$1" || complain "$1 has \"$2\": $(cat "$work/$1")"; }
kept() { cp "$work/out" "$work/$1"; }
same() { cmp -s "$work/$1" "$work/out" || complain "$2: expected $(cat "$work/$1"), found $(cat "$work/out")"; }

# ---- samplers ----
expect 0 generate "$model" 'the cat sees' --tokens 200 --object --no-echo --temperature 1 --seed 3
tr -d ' \n\t\r' <"$work/out" | head -c 1 | grep -q '{' || complain "--object: no object begins: $(cat "$work/out")"
expect 0 generate "$model" 'the cat sees' --tokens 20 --min-p 1 --no-echo
kept likeliest
expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 --no-echo
same likeliest '--min-p 1 is the likeliest token'
expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 --presence-penalty 100 --frequency-penalty 1 --no-echo
cmp -s "$work/likeliest" "$work/out" && complain "penalties change nothing"
expect 2 generate "$model" 'the cat sees' --min-p 2
expect 2 generate "$model" 'the cat sees' --repetition-penalty -1

# ---- the prompt: an argument, stdin, a file; with or without an echo ----
expect 0 generate "$model" 'the cat sees' --tokens 9
kept argument
says out 'the cat sees'
says err 'prompt tokens in '
echo 'the cat sees' >"$work/prompt"
expect 0 generate "$model" --prompt-file "$work/prompt" --tokens 9
same argument 'a prompt in a file'
printf 'the cat sees\r\n' | expect 0 generate "$model" - --tokens 9
same argument 'a prompt on stdin'
expect 0 generate "$model" 'the cat sees' --tokens 9 --no-echo
{ printf 'the cat sees'; cat "$work/out"; } | cmp -s - "$work/argument" || complain "--no-echo is not what followed"
: | expect 0 generate "$model" - --tokens 3 # as without a prompt
kept empty
expect 0 generate "$model" --tokens 3
same empty 'an empty stdin'
printf 'a\377' | expect 2 generate "$model" -
says err 'stdin: expected UTF-8 text, found the byte 0xFF at byte offset 1'
printf 'ab\377' >"$work/bad"
expect 2 generate "$model" --prompt-file "$work/bad"
says err "$work/bad: expected UTF-8 text, found the byte 0xFF at byte offset 2"
expect 1 generate "$model" --prompt-file "$work/none"
says err "$work/none: cannot open"
expect 1 generate "$model" --prompt-file "$work/text"
says err "$work/text: expected a regular file, found a folder"
expect 2 generate "$model" word --prompt-file "$work/prompt"
says err 'PROMPT and --prompt-file exclude each other'
expect 2 generate 'the cat sees' "$model"
says err "first, found \`the cat sees\`, and $model behind it"
head -c 17000000 /dev/zero | tr '\0' a | expect 1 generate "$model" -
says err 'stdin: expected at most 16777216 bytes of prompt, found more'

# ---- from codes, in integers, and exactly ----
expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 --run-bits exact --dtype f32
kept exact
for how in '--run-bits stored' '--run-bits 8' '--run-bits=stored --run-inputs=16'; do
    expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 $how
    same exact "$how"
done
for how in '--run-inputs 8' '--run-bits 4' '--run-bits 4 --run-inputs 8 --dtype f32'; do
    expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 $how
    says out 'the cat sees'
    expect 0 generate "$work/run" 'the cat sees' --tokens 20 --temperature 0 $how # floats
    says out 'the cat sees'
done
expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 --run-bits exact --dtype f32 --cache f32
same exact '--cache f32'
for how in '--cache bf16' '--cache int8' '--cache=int8 --run-bits 4'; do
    expect 0 generate "$model" 'the cat sees' --tokens 20 --temperature 0 --dtype f32 $how
    says out 'the cat sees'
done
expect 2 generate "$model" word --cache int4
says err '--cache: expected f32, bf16 or int8, found `int4`'
if "$moec" --version | grep -q bf16; then
    expect 2 generate "$model" word --cache f32 --dtype bf16
    says err '--cache f32: expected --dtype f32 beside it'
fi
expect 2 generate "$model" word --run-bits 7
says err '--run-bits: expected stored, 8, 4 or exact, found `7`'
expect 2 generate "$model" word --run-inputs 4
says err '--run-inputs: expected 16 or 8, found `4`'
expect 2 generate "$model" word --run-bits exact --run-inputs 16
says err '--run-inputs: expected --run-bits stored, 8 or 4 beside it, found exact'

# ---- read ahead: the same texts, whoever proposes, and what came of it is said ----
for how in '--temperature 0' '--temperature 1 --seed 5' '--temperature 0.7 --repetition-penalty 1.2 --presence-penalty 0.3' \
    '--object --temperature 1'; do
    expect 0 generate "$model" 'the cat sees a dog. the cat' --tokens 60 -n 2 $how
    kept plain
    lacks err proposed
    for who in off lookup "$model" "$work/run"; do
        expect 0 generate "$model" 'the cat sees a dog. the cat' --tokens 60 -n 2 $how --speculate "$who"
        same plain "--speculate $who, $how"
        [ "$who" = off ] || says err ' proposed tokens drawn'
    done
done
expect 0 generate "$model" 'the cat sees a dog' --tokens 60 --temperature 0 --speculate lookup # it says one letter again and again
grep -Eq ', [1-9][0-9]* of [0-9]+ proposed tokens drawn$' "$work/err" || complain "nothing was foreseen: $(cat "$work/err")"
expect 1 generate "$model" word --speculate "$work/none"
says err "$work/none: no such file or folder"
expect 0 data "$work/other" --domain "text=$work/text" --vocab 300 --heldout 0.1
expect 0 train configs/test-tiny.yaml data="$work/other" run="$work/stranger" vocab_size=300 batch=2 seq=32 eval_stride=32 \
    steps=1 checkpoint_every=0 dtype=f32
expect 2 generate "$model" word --speculate "$work/stranger"
says err "--speculate $work/stranger: expected the tokenizer of the model that is run (320 tokens), found another (300)"

# ---- several texts: each that of its seed ----
expect 0 generate "$model" 'the cat' --tokens 9 -n 3 --seed 7
kept three
for seed in 7 8 9; do
    echo "=== seed $seed"
    "$moec" generate "$model" 'the cat' --tokens 9 --seed $seed 2>"$work/err" | tee "$work/seed-$seed"
done >"$work/out"
same three 'three texts'
cmp -s "$work/seed-7" "$work/seed-8" && complain "two seeds gave the same text"

# ---- beyond the context that it was trained with: 32 tokens ----
expect 0 generate "$model" 'the cat' --tokens 9
lacks err beyond
lacks err trained
expect 0 generate "$model" 'the cat' --tokens 60 --temperature 1 --top-p 1 -n 8 # one of them goes on so long
says err ' beyond the 32 tokens of a sequence in training'
yes 'the old man sees 3 birds.' | head -400 >"$work/long"
expect 0 generate "$model" --prompt-file "$work/long" --tokens 3
grep -q '^note: the prompt has [0-9]* tokens, and the model was trained on sequences of 32: .*--context 32' "$work/err" ||
    complain "no word of a long prompt: $(cat "$work/err")"
says out 'the old man sees'
expect 0 generate "$model" --prompt-file "$work/long" --tokens 3 --context 32 --no-echo
kept cut
lacks err note
grep -q '^the prompt has [0-9]* tokens; only the last 32 are read (--context 32)$' "$work/err" ||
    complain "no word of what was cut: $(cat "$work/err")"
says err '32 prompt tokens in '
tail -100 "$work/long" | expect 0 generate "$model" - --tokens 3 --context 32 --no-echo
same cut 'the end of a long prompt'
expect 2 generate "$model" word --context 0
says err '--context: expected an integer from 1'

# ---- Ctrl-C while it reads a prompt of 60,000 tokens: minutes, if it did not look ----
yes 'the old man sees 3 birds, and my sister likes number 5.' | head -4000 >"$work/long"
"$moec" generate "$model" --prompt-file "$work/long" >"$work/out" 2>"$work/err" &
child=$!
until grep -q '^note: ' "$work/err" || ! kill -0 "$child" 2>"$work/dd"; do sleep 0.02; done
sleep 0.3
began=$(date +%s)
kill -INT "$child"
wait "$child"
code=$?
[ "$code" -eq 130 ] || complain "expected exit 130 after an interruption, found $code"
[ $(($(date +%s) - began)) -lt 20 ] || complain "Ctrl-C had to wait for the whole prompt"
says err 'moec: interrupted: '
[ ! -s "$work/out" ] || complain "text behind a prompt that was not read"

[ "$failures" -eq 0 ]
