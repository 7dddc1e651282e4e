# Two ranks on two machines whose network is slow, loses packets, or is cut for good: the weights of one process, or an end in
# bounded time and a run that goes on.
# usage: ranks_net.sh MOEC
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/ranks.sh"
. "$(dirname "$0")/common/machines.sh"

write_text "$work/text" 40
expect 0 data "$work/data" --domain "text=$work/text" --vocab 320 --heldout 0.1
steps=6
final=checkpoints/step-0000000$steps/model.safetensors
export MOEC_RANK_TIMEOUT=300
options="configs/test-tiny.yaml data=$work/data $tiny dtype=f32 steps=$steps checkpoint_every=2"
train 0 1 run="$work/alone" dtype=f32 steps=$steps checkpoint_every=2

# ---- slower, and nothing else ----
for how in "0 0" "1 0" "10 0" "1 0.01"; do
    # shellcheck disable=SC2086
    connect $how
    run="$work/$(echo "$how" | tr ' ' -)"
    began=$(date +%s%N)
    # shellcheck disable=SC2086
    apart train $options run="$run" >"$work/out" 2>"$work/err" || complain "$how: $(cat "$work/err")"
    cmp "$work/alone/$final" "$run/$final" || complain "$how: the weights are others"
    echo "delay and loss $how: $((($(date +%s%N) - began) / 1000000)) ms"
done

# ---- cut for good ----
# ranks_left: processes of moec on both machines; the launcher's are not among them
ranks_left() {
    for machine in "$one" "$two"; do
        for process in $(ip netns pids "$machine"); do
            [ "$(readlink "/proc/$process/exe" 2>/dev/null)" = "$(readlink -f "$moec")" ] && echo "$process"
        done
    done
}
# within SECONDS COMMAND…: until it succeeds
within() {
    most=$1 began=$(date +%s)
    shift
    while ! "$@" && [ $(($(date +%s) - began)) -lt "$most" ]; do sleep 0.2; done
    "$@"
}
none_left() { [ -z "$(ranks_left)" ]; }
job_ended() { ! kill -0 "$job" 2>/dev/null; }
# cut FOLDER: a training whose wire is cut when it has a checkpoint; $job is its launcher
cut() {
    connect 1 0
    # shellcheck disable=SC2086
    apart train $options run="$1" steps=4000 checkpoint_every=1 keep_checkpoints=2 val_every=0 >"$work/out" 2>"$work/err" &
    job=$!
    while ! ls "$1/checkpoints" 2>/dev/null | grep -q step- && ! job_ended; do sleep 0.1; done
    kill -USR1 "$wire"
}

# By the launcher, which asks its daemons for a sign of life: it ends the job.
export MOEC_RANK_TIMEOUT=300
export OMPI_MCA_oob_tcp_keepalive_time=3 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3
cut "$work/cut"
within 120 job_ended || complain "two minutes after the cut the launcher has not ended: $(cat "$work/err")"
wait "$job" && complain "a job whose network was cut ended well"
within 120 none_left || complain "ranks go on where the launcher is gone: $(ranks_left)"
unset OMPI_MCA_oob_tcp_keepalive_time OMPI_MCA_oob_tcp_keepalive_intvl OMPI_MCA_oob_tcp_keepalive_probes

# By the ranks, on both machines. (mpirun then waits for a daemon that it cannot reach, for as long as TCP sends again.)
export MOEC_RANK_TIMEOUT=5
cut "$work/alone-again"
within 120 none_left || complain "ranks wait for longer than their time-out: $(cat "$work/err")"
grep -q 'rank 1: not heard from for 5 s (MOEC_RANK_TIMEOUT): the job ends' "$work/err" || complain "no line of the cut: $(cat "$work/err")"
kill -9 "$job" 2>/dev/null
wait "$job" 2>/dev/null

# What is saved is whole: one machine goes on with it.
export MOEC_RANK_TIMEOUT=300
for run in cut alone-again; do
    newest=$(ls "$work/$run/checkpoints" | sed -n 's/^step-0*//p' | sort -n | tail -1)
    train 0 1 run="$work/$run" dtype=f32 checkpoint_every=1 keep_checkpoints=2 val_every=0 --resume --allow-changes steps=$((newest + 2))
    says err "resumed at step $newest"
done

[ "$failures" -eq 0 ]
