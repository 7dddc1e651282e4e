# moec sweep: refuses what cannot work, makes every run once, goes on after Ctrl-C, draws where gnuplot is; and what moec eval
# shows of routers.
# usage: sweep.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() { grep -qF -e "$2" "$work/$1" || die "$1 lacks \"$2\""; }

write_text "$work/text" 60
write_text "$work/more" 30
for file in "$work/more"/*; do tr 'a-y' 'b-z' <"$file" >"$file.txt" && rm "$file"; done
expect 0 "$moec" data "$work/data" --domain "text=$work/text" --domain "code=$work/more" --vocab 320 --heldout 0.1

# ---- the sweeps that come with moec say what they cost, and all their keys, presets and rules are sound; without data ----
for file in configs/sweeps/*.yaml; do
    grep -q '^# Budget: ' "$file" || die "$file does not say what it costs"
    code=0
    "$moec" sweep "$file" --out "$work/none" --list >"$work/out" 2>"$work/err" || code=$?
    [ "$code" -eq 0 ] || grep -q 'data: expected a folder' "$work/err" || die "$file is refused"
done

# ---- two names, two seeds ----
echo "base: $PWD/configs/test-tiny.yaml" >"$work/preset.yaml"
cat >"$work/sweep.yaml" <<END
seeds: [1, 2]
steps: 20
pack: true
eval_tokens: 300
config: $work/preset.yaml
common: {data: $work/data, vocab_size: 320, model_dim: 32, rope_dims: 8, batch: 2, seq: 32, dtype: f32, checkpoint_every: 0}
runs:
  - name: upcycled
  - name: sparse
    overrides: {events: [], moe_layers: [1, 3], moe_num_experts: 4, moe_gate: renormalized, moe_top_k: 2}
END

# Nothing is begun where something is wrong.
sed 's/config: .*/config: none.yaml/' "$work/sweep.yaml" >"$work/bad.yaml"
expect 2 "$moec" sweep "$work/bad.yaml" --out "$work/bad"
says err "bad.yaml:8: run upcycled: config: expected a preset, found no file $work/none.yaml"
[ "$(wc -l <"$work/err")" -eq 1 ] || die "not one line"
sed 's/moe_top_k/moe_topk/' "$work/sweep.yaml" >"$work/bad.yaml"
expect 2 "$moec" sweep "$work/bad.yaml" --out "$work/bad"
says err "bad.yaml:10: override moe_topk=2: unknown key moe_topk; the nearest is moe_top_k"
sed 's/moe_top_k: 2/moe_top_k: 5/' "$work/sweep.yaml" >"$work/bad.yaml"
expect 2 "$moec" sweep "$work/bad.yaml" --out "$work/bad"
says err "run sparse"
[ ! -e "$work/bad" ] || die "a refused sweep left something"

expect 0 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep" --list
says out "to do"
[ ! -e "$work/sweep" ] || die "--list made something"
expect 1 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep" --report
says err "no run of"

# ---- Ctrl-C, then the same command ----
"$moec" sweep "$work/sweep.yaml" --out "$work/sweep" >"$work/out" 2>"$work/err" &
child=$!
until grep -q '"step":3,' "$work/sweep/upcycled/seed-1/log.jsonl" 2>/dev/null; do
    kill -0 "$child" 2>/dev/null || die "the sweep ended early"
    sleep 0.01
done
kill -INT "$child"
code=0
wait "$child" || code=$?
[ "$code" -eq 130 ] || die "expected exit 130 after an interruption, found $code"
says err "the same command goes on from there"
[ "$(cat "$work/sweep/results.jsonl" 2>/dev/null | wc -l)" -lt 4 ] || die "the sweep was over before it was interrupted"
expect 0 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep"
says out "| upcycled | 2 |"
says out " ± "
[ "$(wc -l <"$work/sweep/results.jsonl")" -eq 4 ] || die "results.jsonl has not four lines"
grep -q '"artifact_bytes":[1-9]' "$work/sweep/results.jsonl" || die "no artifact was measured"
# 300 tokens of a held-out text that is ordered by domain: both are scored.
[ "$(grep -c '"val_bpb_domains":{"text":[1-9][^,}]*,"code":[1-9][^,}]*},"val_bpb_ema_domains":{"text"' \
    "$work/sweep/results.jsonl")" -eq 4 ] || die "results.jsonl lacks bits per byte by domain"
[ "$(grep -c '"scored_tokens":300' "$work/sweep/results.jsonl")" -eq 4 ] || die "not 300 tokens were scored"
says out "| run | weights | text | code |"
says out "| sparse | packed |"
says out "a sample of 300 tokens from all domains of the held-out text"
sed 's/eval_tokens: 300/eval_tokens: 200/' "$work/sweep.yaml" >"$work/bad.yaml"
expect 2 "$moec" sweep "$work/bad.yaml" --out "$work/sweep"
says err "was made with eval_tokens 300"
cp "$work/sweep/results.jsonl" "$work/before"
expect 0 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep"
cmp -s "$work/before" "$work/sweep/results.jsonl" || die "finished runs were made again"
expect 0 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep" --list
[ "$(grep -c finished "$work/out")" -eq 4 ] || die "--list does not show four finished runs"

if command -v gnuplot >/dev/null; then
    for plot in loss bpb experts-upcycled experts-sparse; do
        grep -q '</svg>' "$work/sweep/plots/$plot.svg" || die "no plot $plot"
    done
    [ ! -s "$work/err" ] || die "gnuplot complained"
fi
# What a run was made of is compared with what its preset says today.
echo "mlp_mult: 3" >>"$work/preset.yaml"
expect 2 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep"
says err "its preset has changed since: mlp_mult"
sed -i '$d' "$work/preset.yaml"
sed -i 's/"val_bpb_packed":[0-9.]*/"val_bpb_packed":null/' "$work/sweep/results.jsonl"
expect 2 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep"
says err "was made without pack"
cp "$work/before" "$work/sweep/results.jsonl"
echo mine >"$work/sweep/plots/mine.txt"
expect 0 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep" --report
[ "$(cat "$work/sweep/plots/mine.txt")" = mine ] || die "a file that moec did not make is gone"

mkdir "$work/empty"
rm "$work/sweep/results.md"
PATH=$work/empty expect 0 "$moec" sweep "$work/sweep.yaml" --out "$work/sweep" --report
says err "gnuplot is not installed"
[ -s "$work/sweep/results.md" ] || die "no table without gnuplot"
! command -v gnuplot >/dev/null || [ -s "$work/sweep/plots/loss.svg" ] || die "a report without gnuplot removed the plots"

# ---- routers under moec eval ----
run=$work/sweep/sparse/seed-1
expect 0 "$moec" eval "$run" --tokens 50 --trace "$work/trace.csv"
says out "blocks.3.mlp"
# A token, two layers, two experts.
[ "$(wc -l <"$work/trace.csv")" -eq 201 ] || die "the trace has not 50 x 2 x 2 rows"
[ "$(tail -n +2 "$work/trace.csv" | cut -d, -f1 | sort -u | wc -l)" -eq 50 ] || die "the trace has not 50 positions"
awk -F, 'NR > 1 { gate[$1 "," $(NF - 2)] += $NF } END { for (g in gate) if (gate[g] < 0.999 || gate[g] > 1.001) exit 1 }' \
    "$work/trace.csv" || die "the gates of a token do not add up to 1"
expect 0 "$moec" eval "$run" top_k=1 --tokens 50 --trace "$work/trace.csv"
[ "$(wc -l <"$work/trace.csv")" -eq 101 ] || die "the trace with top_k=1 has not 50 x 2 rows"
expect 0 "$moec" eval "$run" --tokens 50 --json
says out '"routing":'
expect 2 "$moec" eval "$run" top_k=5
says err "top_k: expected 1 to 4"
expect 2 "$moec" eval "$run" topk=1
says err "top_k=N"
expect 0 "$moec" eval "$run" top_k=1
[ ! -e "$run/summary.json" ] || die "another top_k became the run's summary"
