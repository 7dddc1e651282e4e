# Every example of every `moec COMMAND --help` and every command in the README is run as it stands, in the order of
# `moec help`, in a copy of the repository where `./run demo` has left a small run instead of its own. $1: moec
. "$(dirname "$0")/common/lenient.sh"
root=$PWD
case $moec in /*) ;; *) moec=$root/$moec ;; esac

clone=$work/clone
mkdir "$clone" "$clone/build"
for part in configs docs src tests/parity README.md CHANGELOG.md; do
    [ ! -e "$part" ] || { mkdir -p "$clone/$(dirname "$part")" && cp -r "$part" "$clone/$part"; }
done
ln -s "$moec" "$clone/build/moec"
PATH=$clone/build:$PATH
cd "$clone" || exit 1

# ---- the demo's preset, corpus and run, small; a sweep of seconds ----
mv configs/demo.yaml configs/demo-whole.yaml
cat >configs/demo.yaml <<'END'
base: test-tiny.yaml
data:
  data: data/demo
model:
  vocab_size: 2048
  model_dim: 32
  rope_dims: 8
train:
  run: runs/demo
  steps: 4
  max_seconds: 60
  seq: 32
  dtype: f32
eval:
  eval_stride: 32
END
sed -i -e 's/^steps: .*/steps: 2/' -e 's/^seeds: .*/seeds: [1]/' -e 's/^eval_tokens: .*/eval_tokens: 500/' \
    -e 's/^runs:/common: {batch: 2, seq: 32, eval_stride: 32, model_dim: 32, num_heads: 2, num_kv_heads: 1}\nruns:/' \
    configs/sweeps/b-loops-steps.yaml
write_text text 40
expect 0 data data/demo --domain text=text --domain code=src/base --vocab 320 --heldout 0.1
expect 0 train configs/demo.yaml
expect 0 pack runs/demo
# A small one of the architecture that the pretrained model in examples has, and its name. (Who tries them has downloaded it.)
cat >llama.yaml <<'END'
base: configs/demo.yaml
model: {activation: swiglu, norm_weight: true, rope_dims: 0, rope_style: halves, stem_norm: false, smear_width: 0,
        bigram_buckets: 0, bigram_dim: 128, hash_projection: false, qk_norm: none, q_gain: false, xsa: false, ln_scale: false,
        resid_mix: false, attn_scale: false, mlp_scale: false, unet: false, num_loops: 0, parallel_start_layer: 4,
        logit_softcap: 0, document_attention: false, moe_layers: []}
events: []
END
expect 0 train llama.yaml run=runs/llama
expect 0 export runs/llama -o SmolLM2-135M.gguf --to gguf
[ "$failures" -eq 0 ] || exit 1

# A server says where it listens, and ends well when it is told to.
serve_for_a_moment() {
    : >"$work/out" # what the last one said is not this one's
    sh -c "exec $2" >"$work/out" 2>"$work/err" </dev/null &
    server=$!
    tries=0
    until grep -q 'http://' "$work/out" || [ "$tries" -ge 100 ] || ! kill -0 "$server" 2>/dev/null; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill "$server" 2>/dev/null
    wait "$server" || complain "$1: \"$2\" does not work: $(tail -2 "$work/err")"
    count=$((count + 1))
}

# run_example WHERE COMMAND-LINE. What needs a server is tried against a server of the tests' own (tests/fetch).
run_example() {
    case $2 in *"moec fetch "* | *"moec teach --endpoint"*) count=$((count + 1)) && return ;; esac
    case $2 in "moec serve "*) serve_for_a_moment "$1" "$2"; return ;; esac
    sh -c "$2" >"$work/out" 2>"$work/err" </dev/null || complain "$1: \"$2\" does not work: $(tail -2 "$work/err")"
    for word in $2; do # what it reads is in the repository itself, not only here
        case $word in configs/* | docs/* | src/* | tests/* | *.md) [ -e "$root/${word%%=*}" ] || complain "$1: no $word" ;; esac
    done
    count=$((count + 1))
}

# ---- help: "example: moec …", or lines behind "examples…:" ----
count=0
moec help | sed -n 's/^  \([a-z]*\)  *.*/\1/p' >"$work/commands"
while read -r name; do
    moec help "$name" | awk '/^example: / { sub(/^example: /, ""); print; next } /^examples/ { on = 1; next } !/^  / { on = 0 }
        on { sub(/^ */, ""); print }' >"$work/examples"
    [ -s "$work/examples" ] || complain "moec help $name has no example"
    while read -r line; do run_example "moec help $name" "$line"; done <"$work/examples"
done <"$work/commands"
moec help | sed -n 's/^example: //p' >"$work/examples"
while read -r line; do run_example "moec help" "$line"; done <"$work/examples"
[ "$count" -ge 15 ] || complain "only $count examples were found"

# ---- README: in its blocks "moec …" and "build/moec …" are run; "$ …" is run, and is to give the lines behind it. What
# installs or takes minutes (./run, cmake) is run by .ci/run and scripts/fresh-test. ----
awk '/^```/ { on = !on; print ""; next } on' README.md >"$work/blocks"
grep -E '^(build/)?moec [a-z]' "$work/blocks" | sed 's/ *# .*//' >"$work/examples"
while read -r line; do run_example README.md "$line"; done <"$work/examples"
grep '^\$ ' "$work/blocks" | sed 's/^\$ //' >"$work/examples"
[ -s "$work/examples" ] || complain "README.md shows no command with its output"
while read -r line; do
    awk -v command="\$ $line" '$0 == command { on = 1; next } /^\$ / || !NF { on = 0 } on' "$work/blocks" >"$work/expected"
    sh -c "$line" >"$work/found" 2>&1 </dev/null
    cmp -s "$work/expected" "$work/found" || complain "README.md: \"$line\" gives: $(cat "$work/found")"
done <"$work/examples"

[ "$failures" -eq 0 ]
