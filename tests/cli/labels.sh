# Named experts: routers that are taught the domains of the text, what is said of it, what is refused, and that it resumes exactly.
# usage: labels.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/domains.sh"

make_domains
train() {
    code=$1 run=$2
    shift 2
    expect "$code" train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 rope_dims=8 \
        batch=2 seq=32 eval_stride=32 dtype=f32 steps=40 checkpoint_every=20 'events=[]' moe_layers='[1,2]' moe_num_experts=2 \
        moe_top_k=1 "$@"
}
refused() { # PATTERN, key=value …
    pattern=$1
    shift
    train 2 refused "$@"
    grep -Eq "$pattern" "$work/err" || complain "\"$pattern\" is not said: $(cat "$work/err")"
}
hits() { grep '"record":"step"' "$work/$1/log.jsonl" | tail -1 | grep -o '"label_hits":[0-9.]*' | head -1 | cut -d: -f2; }
above() { awk -v x="$1" -v least="$2" 'BEGIN { exit !(x > least) }' || complain "$3: expected above $2, found $1"; }

# Taught routers tell text from numbers, and the experts are called as the domains.
train 0 taught label_weight=1 router_lr=0.05
above "$(hits taught)" 0.9 "label_hits at the end"

grep -Eq '"moe_expert_names":[[:space:]]*\["(text|numbers)", "(text|numbers)"\]' \
    "$work/taught/checkpoints/step-00000040/config.json" || complain "config.json has no names of experts"
# Without a weight nothing of it is there.
train 0 plain
if grep -q label_ce "$work/plain/log.jsonl"; then complain "labels without label_weight"; fi
# By document, with a weight that changes, in one layer.
train 0 document label_weight='{0: 1, 0.5: 0.1}' label_layers='[2]' label_routing=document router_lr=0.05
above "$(hits document)" 0.4 "label_hits by document"

# An interrupted run goes on to the same weights.
train 0 halves label_weight=1 router_lr=0.05
rm -rf "$work/halves/checkpoints/step-00000040"
expect 0 train --resume "$work/halves"
cmp -s "$work/halves/checkpoints/step-00000040/model.safetensors" "$work/taught/checkpoints/step-00000040/model.safetensors" ||
    complain "a resumed run has other weights"

refused 'label_weight: expected a model that has experts' label_weight=1 moe_layers='[]'
refused 'at most as many domains as experts|a domain for each of the 3 experts' label_weight=1 moe_num_experts=3
refused 'an expert for each domain, found none named (text|numbers): the experts are \[a, b\]' label_weight=1 moe_expert_names='[a, b]'
refused 'a domain for each expert, found none named numbers: the domains are \[text\]' label_weight=1 moe_expert_names='[text, numbers]' mix='{text: 1}'
refused 'document needs moe_top_k 1' label_routing=document moe_top_k=2
refused 'document needs moe_z_weight 0' label_routing=document moe_z_weight=0.001
refused 'label_layers: expected layers with experts, found 0' label_weight=1 label_layers='[0]'
refused 'a name for each of the 2 experts, found 1' moe_expert_names='[text]'
expect 0 data "$work/long" --domain "a-name-that-is-much-too-long-for-a-label=$work/text" --domain "numbers=$work/numbers" \
    --tokenizer "$work/data/tokenizer.model" --heldout 0.1
refused 'names of 1 to 31 bytes, found 2 with a-name-that-is-much-too-long-for-a-label among them' label_weight=1 data="$work/long"
refused 'label_weight: expected numbers by fraction of the training, such as' label_weight='{}'
rm "$work"/data/*.docs.tsv
refused 'a table of its documents' label_weight=1

[ "$failures" -eq 0 ]
