# moec simulate: tables of steps that nobody made; and moec bench machine, whose file it takes. $1: moec
. "$(dirname "$0")/common/lenient.sh"

expect 0 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 1,8,64 -o "$work/out-folder"
says out "configs/upcycle-9l.yaml on nodes of 8 x H100 SXM: 34,"
for way in 'as built' sharded experts; do says out "$way"; done
cmp -s "$work/out" "$work/out-folder/simulation.md" || complain "simulation.md is not what was shown"
if command -v gnuplot >/dev/null 2>&1; then [ -s "$work/out-folder/simulation.svg" ] || complain "no plot"; fi
cp "$work/out" "$work/first"
expect 0 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 1,8,64
cmp -s "$work/first" "$work/out" || complain "the same question has another answer"

# ---- before its events the model has no experts, and a step is shorter ----
seconds() { sed -n 's/^one rank: a step in \([0-9.]*\) s.*/\1/p' "$work/out"; }
after=$(seconds)
expect 0 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 1 --before-events
grep -q '| *experts |' "$work/out" && complain "experts of a model that has none"
awk -v a="$after" -v b="$(seconds)" 'BEGIN { exit !(b > 0 && b < a) }' || complain "before its events: $(seconds) s, after: $after s"

# ---- more ranks than a step has rows ----
expect 0 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 512
says out "512 ranks: 256 rows of a step are no multiple of 512 ranks"
expect 0 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 512 --grows --json
grep -q '"efficiency":' "$work/out" || complain "--json has no efficiency"

# ---- this machine ----
expect 0 bench machine --bandwidth 8 --dtype f32 -o "$work/machine.yaml"
says out "GFLOP/s"
expect 0 simulate configs/demo.yaml "$work/machine.yaml" --ranks 1
says out "| 1 "

# ---- what is refused ----
expect 2 simulate configs/upcycle-9l.yaml
expect 2 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 0
says err "--ranks: expected numbers from 1"
expect 2 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml --ranks 12
says err "expected ranks within one node of 8"
expect 1 simulate configs/upcycle-9l.yaml "$work/none.yaml"
says err "none.yaml"
expect 2 simulate configs/upcycle-9l.yaml configs/demo.yaml
says err "a machine"
expect 2 simulate configs/upcycle-9l.yaml configs/machines/h100.yaml batchh=3
says err "the nearest is batch"

[ "$failures" -eq 0 ]
