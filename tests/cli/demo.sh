# scripts/demo on other corpora and a tiny model, in a copy of the repository: from nothing, once more, after an
# interruption; and that each speed gets a recipe which exists. $1: moec
. "$(dirname "$0")/common/lenient.sh"
root=$PWD
case $moec in /*) ;; *) moec=$root/$moec ;; esac

clone=$work/clone
mkdir -p "$clone/build" "$clone/data/corpora"
cp -r scripts configs "$clone"
ln -s "$moec" "$clone/build/moec"
for domain in code:src manuals:docs dictionary:tests scripture:fuzz; do
    mkdir "$clone/data/corpora/${domain%%:*}"
    find "${domain#*:}" -type f \( -name '*.c' -o -name '*.md' -o -name '*.sh' \) -size -200k | sort | head -60 |
        while read -r file; do cp "$file" "$clone/data/corpora/${domain%%:*}/$(echo "$file" | tr / .)"; done
done
cd "$clone" || exit 1

tiny='num_layers=4 model_dim=32 num_heads=2 num_kv_heads=1 rope_dims=8 loop_start=1 loop_end=2 parallel_start_layer=3 seq=64
    batch=2 eval_stride=48 bigram_buckets=64 events=[]'
demo() {
    # shellcheck disable=SC2086  # keys are words
    scripts/demo --short $tiny "$@" >"$work/out" 2>"$work/err" </dev/null || complain "demo: $(tail -3 "$work/err")"
}

demo steps=3
[ -f runs/demo-short/summary.json ] || complain "the demo left no summary"
says out '6/6 generation'

# A finished one is kept, and said to be.
cp runs/demo-short/log.jsonl "$work/first.jsonl"
demo steps=3
says out 'it is kept as runs/demo-short-before'
cmp -s "$work/first.jsonl" runs/demo-short-before/log.jsonl || complain "the first demo was not kept"

# An interrupted one goes on: what was trained is not trained again.
rm runs/demo-short/summary.json runs/demo-short/model.moec
cp runs/demo-short/log.jsonl "$work/second.jsonl"
demo steps=3
says out 'it goes on with its own recipe'
[ -f runs/demo-short/model.moec ] && [ -f runs/demo-short/summary.json ] || complain "the demo did not go on to its end"
[ "$(grep -c '"record":"step"' runs/demo-short/log.jsonl)" -eq "$(grep -c '"record":"step"' "$work/second.jsonl")" ] ||
    complain "the demo trained again what it had trained"

# Every speed has a recipe, a slower machine never a larger one.
before=0
for speed in 1 100 700 1500 3000 5000 8000 12000 20000 50000 1000000; do
    preset=$(scripts/demo-recipe --speed $speed 2>"$work/err") || complain "no recipe for $speed tokens/s"
    says err "$speed tokens/s"
    now=$("$moec" inspect "$preset" --json | sed -n 's/.*"total":[^0-9]*\([0-9]*\),.*/\1/p' | head -1)
    [ "${now:-0}" -ge "$before" ] || complain "$speed tokens/s get the smaller model of $preset"
    before=${now:-0}
done
[ "$before" -gt 0 ] || complain "no size was found"
scripts/demo-recipe --speed fast 2>"$work/err" && complain "a speed that is no number was taken"
says err "found 'fast'"

[ "$failures" -eq 0 ]
