# A pipe, a device or a folder in the place of a file: refused by its kind, without waiting for a pipe's other end and without
# reading a device until memory ends. $1: moec
. "$(dirname "$0")/common/lenient.sh"

write_text "$work/text" 20
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
limited() { timeout 20 "$moec" "$@"; }
train() { # RUN options…
    run=$1
    shift
    limited train configs/test-tiny.yaml data="$work/data" run="$work/$run" vocab_size=320 model_dim=32 \
        rope_dims=8 batch=2 seq=32 eval_stride=32 steps=2 dtype=f32 "$@"
}
train run >"$work/out" 2>"$work/err" || complain "training failed: $(cat "$work/err")"
expect 0 pack "$work/run" -o "$work/model.moec"
mkfifo "$work/pipe.jsonl"

# refuses KIND NAME command…: exit 1, and one line that says what NAME is instead of a file
refuses() {
    line="$2: expected a regular file, found $1"
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    found=$?
    [ "$found" -eq 1 ] || complain "$*: exit $found, expected 1: $(cat "$work/err")"
    says err "$line"
}

for case in "$work/pipe.jsonl|a pipe" '/dev/zero|a device' '/dev/full|a device' '/dev/urandom|a device'; do
    path=${case%|*} kind=${case#*|}
    refuses "$kind" "$path" limited data "$work/new" --domain "x=$path"
    refuses "$kind" "$path" limited data "$work/new" --domain "x=$work/text" --tokenizer "$path"
    refuses "$kind" "$path" limited train "$path"
    refuses "$kind" "$path" train new tokenizer="$path"
    refuses "$kind" "$path" train new data="$path" tokenizer="$work/data/tokenizer.model"
    refuses "$kind" "$path" limited eval "$work/model.moec" --data "$path"
    refuses "$kind" "$path" limited sweep "$path"
    for command in eval generate inspect; do refuses "$kind" "$path" limited $command "$path"; done

    # In a checkpoint, a data folder and a parity case, the file may lie under the name that is expected there.
    for name in checkpoint.json model.safetensors config.yaml tokenizer.model; do
        rm -rf "$work/copy"
        cp -r "$work/run" "$work/copy"
        ln -sf "$path" "$work/copy/checkpoints/step-00000002/$name"
        refuses "$kind" "$name" limited pack "$work/copy"
    done
    for name in data_train_000000.bin tokenizer.model; do
        rm -rf "$work/bad"
        cp -r "$work/data" "$work/bad"
        ln -sf "$path" "$work/bad/$name"
        refuses "$kind" "$name" train new data="$work/bad"
    done
    for name in data_val_000000.bin data_val_000000.docs.tsv heldout.txt; do
        rm -rf "$work/bad"
        cp -r "$work/data" "$work/bad"
        ln -sf "$path" "$work/bad/$name"
        refuses "$kind" "$name" limited eval "$work/model.moec" --data "$work/bad"
    done
    rm -rf "$work/case"
    mkdir "$work/case"
    ln -s "$path" "$work/case/config.json"
    refuses "$kind" config.json limited verify "$work/case"
done

# A folder where a file is expected.
refuses 'a folder' "$work/text" limited train "$work/text"
refuses 'a folder' "$work/text" limited sweep "$work/text"
expect 1 train configs/test-tiny.yaml data="$work/data" run="$work/new" tokenizer="$work/text"
says err "$work/text: expected a folder with a tokenizer.json or a tokenizer.model, found neither"

[ "$failures" -eq 0 ]
