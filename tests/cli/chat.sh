# moec chat without a terminal: lines in, answers out; commands, templates, experts, errors. (chat_terminal.py has the terminal.)
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/domains.sh"
export XDG_STATE_HOME="$work/state"

make_domains
train_named 64
lacks() { ! grep -qF -e "$2" "$work/$1" || complain "$1 has \"$2\": $(cat "$work/$1")"; }
same() { cmp -s "$work/$1" "$work/$2" || complain "$3: expected $(cat "$work/$1"), found $(cat "$work/$2")"; }
read_of() { sed -n "s/^\[\([0-9]* of [0-9]*\) tokens read.*/\1/p" "$work/err" | sed -n "$1p"; }
# chat LINES options…: the lines (printf's) to a greedy conversation of short answers
chat() {
    lines=$1
    shift
    printf "$lines" | expect 0 chat "$work/named" --temperature 0 --tokens 8 --dtype f32 "$@"
}

# ---- the text goes on; of the second turn only what is new is read ----
expect 0 generate "$work/named" 'my sister sees' --temperature 0 --tokens 8 --dtype f32 --no-echo
cp "$work/out" "$work/generated"
chat 'my sister sees\n'
same generated out 'an answer'
says err 'no chat template that moec knows'
chat 'my sister sees\r\n\n   \n a dog likes'
[ "$(wc -l <"$work/out")" -eq 2 ] || complain "two lines, and answers: $(cat "$work/out")"
head -1 "$work/out" | cmp -s - "$work/generated" || complain "the first of two answers: $(cat "$work/out")"
first=$(read_of 1) second=$(read_of 2)
[ "${first% of *}" = "${first#* of }" ] || complain "the first turn read $first"
[ "${second% of *}" -lt 10 ] && [ "${second#* of }" -gt 10 ] || complain "the second turn read $second"
chat ''
[ ! -s "$work/out" ] || complain "an answer to nothing"

# ---- commands ----
chat 'my sister sees\n/retry\n/reset\nmy sister sees\n'
[ "$(read_of 2 | sed "s/ .*//")" = 1 ] || complain "/retry read $(read_of 2)"
[ "$(sort -u "$work/out" | wc -l)" -eq 1 ] && [ "$(wc -l <"$work/out")" -eq 3 ] || complain "/retry, /reset: $(cat "$work/out")"
[ "$(read_of 3 | sed 's/.* //')" = "$(read_of 1 | sed 's/.* //')" ] || complain "behind /reset: $(cat "$work/err")"
chat '/seed 7\n/temperature 1.5\nmy sister\n/retry\n'
cp "$work/out" "$work/two"
chat 'my sister\n/reset\n/seed 8\nmy sister\n' --seed 7 --temperature 1.5
same two out 'seeds by commands and by options'
[ "$(sort -u "$work/out" | wc -l)" -eq 2 ] || complain "two seeds gave the same answer"
chat "/tokens 3\n/system Seven birds.\nmy sister sees\n/save $work/saved.json\n/save $work/saved.json\n/help\n"
grep -q '"role":[[:space:]]*"system"' "$work/saved.json" && grep -q 'Seven birds' "$work/saved.json" &&
    grep -q '"content":[[:space:]]*"my sister sees"' "$work/saved.json" && grep -q '"assistant"' "$work/saved.json" ||
    complain "/save: $(cat "$work/saved.json")"
says err '3 new ones'
for part in '/retry' '/save FILE' '/temperature X' 'of an answer, at most (now 3)' '(now Seven birds.)' '(now 1 of 2)' 'Ctrl-C'; do says err "$part"; done
chat 'my sister \\\nsees\n//reset\n/quit\na dog\n'
[ "$(grep -c '^\[' "$work/err")" -eq 2 ] || complain "//, \\ and /quit: $(cat "$work/err")"
printf 'x\n/save %s\n' "$work/saved.json" | expect 2 chat "$work/named" --tokens 2
says err 'is there already'
for line in '/hlep:unknown command /hlep; the nearest is /help' '/temperature hot:/temperature: expected a number from 0 to 100, found `hot`' \
    '/omit nobody:/omit: expected names or numbers of experts, found `nobody`: the experts are numbers, text' \
    '/omit text,numbers:/omit: expected at least one expert that stays, found none' '/routing 0:/routing: expected a layer with experts' \
    '/experts 3:/experts: expected an integer from 1 to 2' '/retry:/retry: expected an answer before it' '/save:/save: expected a file'; do
    printf '%s\nmy sister\n' "${line%%:*}" | expect 2 chat "$work/named" --tokens 2
    says err "${line#*:}"
    [ ! -s "$work/out" ] || complain "an answer behind ${line%%:*}"
done

# ---- experts ----
chat 'my sister sees\n7654 7655\n' --routing
grep -Eq '^tokens by expert: .*(text|numbers) [0-9]+ %' "$work/err" || complain "no shares: $(cat "$work/err")"
says err 'experts: numbers, text; a token'
grep -q "$(printf '\033')" "$work/out" "$work/err" && complain "colours in files"
chat 'my sister sees\n' --routing-layer 2
says err 'the strongest one of layer 2'
chat 'my sister sees\n' --omit text --routing
says err 'tokens by expert: numbers 100 %'
expect 0 generate "$work/named" 'my sister sees' --temperature 0 --tokens 8 --dtype f32 --no-echo --omit text
cp "$work/out" "$work/omitted"
chat 'my sister sees\n/reset\n/omit text\nmy sister sees\n/reset\n/omit\nmy sister sees\n'
{ cat "$work/generated" "$work/omitted" "$work/generated"; } >"$work/three"
same three out 'an expert off and on again'
chat '/experts 2\nmy sister sees\n/help\n'
says err '(now 2 of 2)'

# ---- read ahead: the same answers, of the same experts, and of each turn only what is new is read ----
chat '7 7 7 7\n7654 7655\n/retry\nmy sister\n' --routing --tokens 30
sed -n 's/^tokens by expert/&/p; s/^\(\[[0-9]* of [0-9]*\).*/\1/p' "$work/err" >"$work/turns"
cp "$work/out" "$work/plain"
for who in lookup "$work/named"; do
    chat '7 7 7 7\n7654 7655\n/retry\nmy sister\n' --routing --tokens 30 --speculate "$who"
    same plain out "--speculate $who"
    says err ' proposed tokens drawn]'
    sed -n 's/^tokens by expert/&/p; s/^\(\[[0-9]* of [0-9]*\).*/\1/p' "$work/err" >"$work/ahead"
    same turns ahead "experts and turns of --speculate $who"
done

# ---- a conversation longer than its context ----
chat 'my sister sees\nmy sister sees\nmy sister sees\nmy sister sees\n' --context 40
says err 'has outgrown the context of 40 tokens'
[ "$(wc -l <"$work/out")" -eq 4 ] || complain "four answers: $(cat "$work/out")"
printf 'my sister sees birds and my sister sees birds\n' | expect 1 chat "$work/named" --context 8
says err "expected fewer tokens than the context's 8"

# ---- a chat template: what generate --chat says ----
expect 0 export "$work/named" -o "$work/hf" --to qwen2-moe
cat >"$work/hf/chat_template.jinja" <<'END'
{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
END
expect 0 generate "$work/hf" --chat 'my sister sees' --system 'Birds.' --temperature 2 --top-p 1 --seed 3 --tokens 8 --dtype f32
[ "$(wc -c <"$work/out")" -gt 3 ] || complain "an empty answer tells nothing"
cp "$work/out" "$work/generated"
printf 'my sister sees\nand a dog\n' | expect 0 chat "$work/hf" --system 'Birds.' --temperature 2 --top-p 1 --seed 3 \
    --tokens 8 --dtype f32 --context 400
lacks err 'no chat template'
head -1 "$work/out" >"$work/first"
same generated first 'an answer by a template'
[ "$(read_of 2 | sed 's/ .*//')" -lt "$(read_of 1 | sed 's/ .*//')" ] || complain "the second turn read $(read_of 2)"

# ---- what cannot be said ----
printf 'a\377\n' | expect 1 chat "$work/named"
says err 'expected UTF-8 text, found the byte 0xFF'
printf 'a\000b\n' | expect 1 chat "$work/named"
says err 'found a NUL byte'
head -c 2000000 /dev/zero | tr '\0' a | expect 1 chat "$work/named"
says err 'expected a line of at most 1048576 bytes'
expect 2 chat "$work/named" hello
expect 2 chat "$work/named" --temprature 1
says err '--temperature'
expect 0 export "$work/named" -o "$work/one" --to llama --expert text
for option in --routing '--routing-layer 1' '--omit text'; do
    printf 'my sister\n' | expect 2 chat "$work/one" $option
    says err "${option%% *}: expected a model with experts, found one without"
done
if [ -w /dev/full ]; then
    printf 'my sister\n' | "$moec" chat "$work/named" --tokens 3 >/dev/full 2>"$work/err" && complain "success while stdout is full"
    says err 'stdout: cannot write'
fi
[ ! -e "$work/state" ] || complain "a history of lines that nobody typed"

[ "$failures" -eq 0 ]
