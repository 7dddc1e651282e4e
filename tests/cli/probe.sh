# moec probe: what routers know of domains, and what it says where there is nothing to know.
# usage: probe.sh MOEC
. "$(dirname "$0")/common/strict.sh"

says() { grep -qE -e "$2" "$work/$1" || die "$1 lacks \"$2\": $(cat "$work/$1")"; }
lacks() { if grep -qE -e "$2" "$work/$1"; then die "$1 has \"$2\""; fi; }
one_line() {
    [ "$(grep -c '^moec: ' "$work/err")" -eq 1 ] || die "not one line of error"
    says err "$1"
}

# ---- domains with letters of their own, a looped mixture whose experts have their names ----
write_text "$work/plain" 60
mkdir "$work/numbers"
i=0
while [ $i -lt 40 ]; do
    seq $i 7 $((i + 400)) >"$work/numbers/$i.txt"
    i=$((i + 1))
done
expect 0 "$moec" data "$work/data" --domain "plain=$work/plain" --domain "numbers=$work/numbers" --vocab 320 --heldout 0.15
train() {
    run=$1
    shift
    "$moec" train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 steps=12 dtype=f32 events='[{at: 0.1, do: loop}]' "$@"
}
expect 0 train run moe_start_layer=2 moe_num_experts=3 router_init_std=1 moe_expert_names='[numbers, plain, other]'

expect 0 "$moec" probe "$work/run" --tokens 500 -o "$work/found"
says out 'routing of a sample of 500 tokens in [0-9]+ documents of 2 domains of held-out text'
for row in 'blocks.2.mlp +1' 'blocks.2.mlp +2' 'blocks.3.mlp +1' mean; do says out "^$row +[01]\.[0-9]{4} "; done
says out '^\*: the expert of the domain.s name$'
says out '^tokens +numbers +plain +other $|^tokens +numbers +plain +other$'
says out '^numbers +[0-9]+ +[0-9.]+\*'
says out '^accuracy: [0-9.]+ % of the tokens, [0-9.]+ % of the documents; as a mean over 2 domains .*\(at most 50.00 % '
says out '^weights of this training: '
says err "^results in $work/found\$"
[ "$(wc -l <"$work/found/routers.csv")" -eq 5 ] || die "routers.csv has not a line each router"
[ "$(wc -l <"$work/found/shares.csv")" -eq 25 ] || die "shares.csv has not a line each router, domain and expert"
grep -q '^mean,,numbers,0,numbers,1,' "$work/found/shares.csv" || die "shares.csv does not name experts"
for file in experts separation; do
    [ -s "$work/found/$file.tsv" ] && [ -s "$work/found/$file.gp" ] || die "no $file.tsv and .gp"
    if command -v gnuplot >"$work/which"; then grep -q '</svg>' "$work/found/$file.svg" || die "no $file.svg"; fi
done
if grep -qi warning "$work/err"; then die "gnuplot warns"; fi

# ---- the same again, as JSON, without gnuplot ----
cp "$work/out" "$work/first"
mkdir "$work/empty"
PATH=$work/empty expect 0 "$moec" probe "$work/run" --tokens 500 -o "$work/plain-found" --json
says err 'probe: no plots: gnuplot is not installed'
cmp -s "$work/out" "$work/plain-found/probe.json" || tr -d '\n' <"$work/out" | cmp -s - "$work/plain-found/probe.json" ||
    die "probe.json is not what --json prints"
cmp -s "$work/found/routers.csv" "$work/plain-found/routers.csv" || die "a probe is not the same each time"
[ ! -e "$work/plain-found/experts.svg" ] || die "a plot without gnuplot"
for key in separation information_bits information_shuffled_bits expert_of token_accuracy document_accuracy; do
    says out "\"$key\":"
done
says out '"experts_of_domains":.*"names"'

# ---- experts without names, all of the text, other text; a dense model; data that say nothing of domains ----
expect 0 train nameless moe_layers='[1, 3]' moe_num_experts=2 moe_gate=soft
expect 0 "$moec" probe "$work/nameless" --data "$work/data" --tokens 0 --seq 16 --live
says out '^routing of [0-9]+ tokens in '
says out '^\*: the domain.s expert by best assignment; '
expect 0 "$moec" pack "$work/nameless"
expect 0 "$moec" probe "$work/nameless/model.moec" --tokens 100
lacks out 'weights of this training'
expect 2 "$moec" probe "$work/nameless/model.moec" --ema
one_line 'model.moec: --ema: expected a run or a checkpoint'
expect 0 train dense moe_layers='[]'
expect 2 "$moec" probe "$work/dense"
one_line "$work/dense: expected a mixture of experts, found a model without routers"
expect 0 "$moec" data "$work/single" --domain "plain=$work/plain" --tokenizer "$work/data/tokenizer.model"
expect 1 "$moec" probe "$work/run" --data "$work/single" -o "$work/none"
one_line "$work/single: expected held-out text of at least two domains, found one: plain"
mkdir "$work/bare"
cp "$work/data/data_val_000000.bin" "$work/data/tokenizer.model" "$work/bare"
expect 1 "$moec" probe "$work/run" --data "$work/bare" -o "$work/none"
one_line "$work/bare: expected a table of documents \(.docs.tsv\) beside the held-out shard, found none"
cp "$work/nameless/model.moec" "$work/alone.moec"
expect 2 "$moec" probe "$work/alone.moec"
one_line 'expected --data with a folder made by moec data, and .*alone.moec does not lie in a run'
: >"$work/file"
expect 1 "$moec" probe "$work/run" --tokens 100 -o "$work/file"
one_line "$work/file: expected a folder, found a file"
[ "$(wc -l <"$work/err")" -eq 1 ] || die "what cannot be written is found out after the work"
[ ! -e "$work/none" ] || die "a failed probe left something"
