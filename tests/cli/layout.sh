# --layout: the same text with and without, of an artifact, a GGUF file and a run; two processes at once; what is damaged, what cannot be
# written; servers. $1: moec
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/llama.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
write_llama true 3 0.9
expect 0 train "$work/llama.yaml"
expect 0 pack "$work/run"
expect 0 export "$work/run" -o "$work/run.gguf" --to gguf --type q8_0

layouts=$work/layouts
count() { find "$layouts" -type f 2>/dev/null | wc -l; }
# text STATUS MODEL options…: what it writes, in $work/out
text() {
    run=$1
    shift
    expect 0 generate "$run" 'the cat' --tokens 20 --seed 3 "$@"
}
made() { says err "$layouts/"; says err 'later starts and other processes map'; }
quiet() { grep -q layout "$work/err" && complain "$*: a line: $(cat "$work/err")"; }

# ---- the same text ----
expected=0
while read -r model options; do
    text "$work/$model" $options --layout off
    quiet off
    cp "$work/out" "$work/without"
    text "$work/$model" $options --layout "$layouts"
    made
    cmp -s "$work/out" "$work/without" || complain "$model $options: another text where a layout was made"
    text "$work/$model" $options --layout "$layouts"
    quiet again
    cmp -s "$work/out" "$work/without" || complain "$model $options: another text from its layout"
    expected=$((expected + 1))
    [ "$(count)" -eq $expected ] || complain "$model $options: $(count) layouts, expected $expected"
done <<END
run/model.moec
run/model.moec --run-bits 4 --run-inputs 8
run.gguf
run.gguf --run-inputs 8
run --run-bits 8
run --run-bits 8 --live
END

# ---- by itself: only where loading takes long, and where one is there ----
text "$work/run.gguf"
quiet auto
[ ! -e "$XDG_CACHE_HOME/moec/layouts" ] || complain "a layout of a model that is loaded in no time"
text "$work/run.gguf" --layout on
says err "$XDG_CACHE_HOME/moec/layouts/"
text "$work/run.gguf" --layout on --speculate "$work/run.gguf"
quiet 'the second of a model twice'

# ---- two at once ----
rm -rf "$layouts"
text "$work/run.gguf" --layout off
cp "$work/out" "$work/without"
for i in 1 2 3; do
    "$moec" generate "$work/run.gguf" 'the cat' --tokens 20 --seed 3 --layout "$layouts" >"$work/out-$i" 2>"$work/err-$i" &
    pids="${pids-} $!"
done
for pid in $pids; do wait "$pid" || complain "one of several at once failed: $(cat "$work"/err-*)"; done
for i in 1 2 3; do cmp -s "$work/without" "$work/out-$i" || complain "one of several at once wrote another text"; done
[ "$(count)" -eq 1 ] || complain "$(count) layouts of one model"

# ---- another instruction set ----
MOEC_ISA=avx2 text "$work/run.gguf" --layout "$layouts"
cmp -s "$work/without" "$work/out" || complain "another text with AVX2"
[ "$(count)" -le 2 ] || complain "$(count) layouts of one model and two instruction sets"

# ---- damage, and another model in its place ----
layout=$(find "$layouts" -type f | head -1)
for file in "$layouts"/*; do head -c 3000 "$file" >"$work/cut" && cp "$work/cut" "$file"; done
text "$work/run.gguf" --layout "$layouts"
says err 'expected'
[ "$(wc -l <"$work/err")" -le 2 ] || complain "damage in more than a line: $(cat "$work/err")"
cmp -s "$work/without" "$work/out" || complain "another text behind damage"
text "$work/run.gguf" --layout "$layouts"
quiet 'behind damage'
rm "$work/run.gguf"
expect 0 export "$work/run" -o "$work/run.gguf" --to gguf --type f32
text "$work/run.gguf" --run-bits 8 --layout "$layouts"
made
[ "$(count)" -eq 1 ] || complain "the layouts of a model that is no more are there: $(ls "$layouts")"

# ---- no place for it ----
MOEC_FAIL_WRITE_AFTER=5000 text "$work/run/model.moec" --layout "$work/full"
says err 'without a layout: '
says err 'No space left on device'
[ -z "$(ls -A "$work/full")" ] || complain "left on a full disk: $(ls "$work/full")"
text "$work/run/model.moec" --layout "$work/run.gguf/below"
says err 'without a layout: '
text "$work/run/model.moec" --run-bits exact --layout "$work/none"
[ ! -e "$work/none" ] || complain 'a layout of what is run exactly'
expect 2 generate "$work/run" x --layout=
says err '--layout: expected auto, on, off or a folder'

# ---- the other commands ----
expect 0 bench run "$work/run/model.moec" --batch 1 --prompt 20 --tokens 4 --bandwidth 0 --layout "$layouts"
made
echo 'the cat' | "$moec" chat "$work/run/model.moec" --tokens 5 --layout "$layouts" >"$work/out" 2>"$work/err" || complain 'chat failed'
grep -q 'later starts' "$work/err" && complain "chat made the layout anew: $(cat "$work/err")"
command -v curl >/dev/null && ! "$moec" serve --help | grep -q 'without libmicrohttpd' || exit $((failures > 0))
servers=''
trap '[ -z "$servers" ] || kill -9 $servers 2>/dev/null; rm -rf "$work"' EXIT
for i in 1 2; do
    : >"$work/said-$i"
    "$moec" serve "$work/run/model.moec" --port 0 --layout "$layouts" >"$work/said-$i" 2>"$work/told-$i" &
    servers="$servers $!"
done
for i in 1 2; do
    tries=0
    until grep -q '^listening on' "$work/said-$i" || [ $tries -gt 600 ]; do sleep 0.1; tries=$((tries + 1)); done
    url=$(sed -n 's/^listening on //p' "$work/said-$i")
    curl -s -m 60 "$url/v1/completions" -H 'Content-Type: application/json' -d '{"prompt": "the cat", "max_tokens": 8, "temperature": 0}' |
        sed 's/.*"choices"/"choices"/; s/"usage".*//' >"$work/served-$i"
    [ -s "$work/served-$i" ] || complain "no answer of server $i: $(cat "$work/told-$i")"
done
cmp -s "$work/served-1" "$work/served-2" || complain 'two servers, two answers'
for server in $servers; do
    grep -q "$layouts/" "/proc/$server/maps" || complain 'a server has no layout mapped'
    kill -TERM "$server"
    wait "$server" || complain 'a server ended badly'
done
servers=''
[ "$failures" -eq 0 ]
