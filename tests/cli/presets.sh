# Every preset in configs/ is read, counted and inspected; one CPU twin of each family trains a few steps at a tiny size, goes
# on from its checkpoint, is packed and evaluated.
# usage: presets.sh MOEC
. "$(dirname "$0")/common/strict.sh"

# What a published preset says it is based on is there, and each has its twin of the same structure.
for preset in configs/*.yaml; do
    name=$(basename "$preset" .yaml)
    expect 0 "$moec" inspect "$preset"
    grep -q '^  total  *[1-9]' "$work/out" || die "$preset: no parameters are counted"
    case $name in demo* | test-* | continue | finetune | upcycle-pretrained | specialists) continue ;; esac
    layers() { "$moec" inspect "$1" --json | sed -n '/"now"/,/"after_events"/s/"\(num_layers\|moe_gate\|moe_start_layer\)":/&/p'; }
    [ -f "configs/cpu/$name.yaml" ] || die "$name has no CPU twin"
    [ "$(layers "$preset")" = "$(layers "configs/cpu/$name.yaml")" ] || die "configs/cpu/$name.yaml has another structure"
done

# The preset that its author left open has to fit.
expect 0 "$moec" inspect configs/explore-soft-10l.yaml --json
bytes=$(sed -n 's/.*"weight_bytes":[^0-9]*\([0-9]*\).*/\1/p' "$work/out")
[ "$bytes" -lt 15500000 ] || die "explore-soft-10l: $bytes bytes of weights"

# ---- from text to bits per byte, for each family ----
write_text "$work/text" 60
expect 0 "$moec" data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1

for name in soft-2e-9l explore-standard-9l explore-shared-routed-9l explore-soft-9l random-up-moe-12l-5layers-e2-rank8; do
    set -- "configs/cpu/$name.yaml" data="$work/data" vocab_size=320 model_dim=32 num_heads=2 num_kv_heads=1 batch=2 \
        seq=32 eval_stride=16 checkpoint_every=4 val_every=0 calibration_batches=2 log_every=100 dtype=f32 \
        swa_start=0.2 swa_every=2 # a mean of three checkpoints, the first two before the resume
    expect 0 "$moec" train "$@" run="$work/$name" steps=8
    expect 0 "$moec" train "$@" run="$work/again" steps=8
    rm -r "$work/again/checkpoints/step-00000008"
    expect 0 "$moec" train "$@" run="$work/again" steps=8 --resume
    [ "${name#random-up}" = "$name" ] && average=ema || average= # which keeps none
    for file in model $average optimizer; do
        cmp -s "$work/$name/checkpoints/step-00000008/$file.safetensors" \
            "$work/again/checkpoints/step-00000008/$file.safetensors" || die "$name: $file differs after resuming"
    done
    ! grep -q random_weight "$work/$name/checkpoints/step-00000008/model.safetensors" ||
        die "$name: the frozen random weights are in the checkpoint"
    expect 0 "$moec" pack "$work/$name" -o "$work/$name.moec"
    expect 0 "$moec" eval "$work/$name.moec" --data "$work/data"
    rm -r "$work/again"

    # the preset that begins with another model, of each family
    expect 0 "$moec" train configs/continue.yaml init="$work/$name" data="$work/data" run="$work/more" batch=2 seq=32 \
        eval_stride=16 steps=2 val_every=1 dtype=f32
    grep -q "^weights from the checkpoint $work/$name" "$work/err" || die "$name: continue.yaml says nothing of its weights"
    rm -r "$work/more"
done
