#!/bin/sh
# moec train by several processes with Open MPI (docs/parallel.md).
#
# usage: configs/launch/mpirun.sh RANKS CONFIG|RUN [arguments of moec train …]
#        MOEC_HOSTS=one:1,two:1 configs/launch/mpirun.sh 2 …    (hosts and how many ranks each; data and run on a folder that all see)
# example: configs/launch/mpirun.sh 2 configs/continue.yaml data=data/own run=runs/own
#
# A rank is one process with threads: one for each machine, or for each socket. --bind-to none: else mpirun gives a rank one core.
# MOEC_RANK_CORES=N keeps the ranks of a machine to N cores each. Ctrl-C: moec finishes the step and saves, and mpirun waits for
# that for ten minutes (by default it kills after a second). A machine that is gone is noticed after some 90 seconds.
set -eu
[ $# -ge 2 ] || { sed -n '4,6s/^# //p' "$0" >&2; exit 2; }
ranks=$1
shift
moec=${MOEC:-build/moec} pass=''
# Ranks on other machines have these only so.
for name in MOEC_RANK_CORES MOEC_RANK_TIMEOUT MOEC_ISA OMP_NUM_THREADS; do
    eval "value=\${$name:-}"
    [ -z "$value" ] || pass="$pass -x $name"
done
# shellcheck disable=SC2086
exec mpirun -n "$ranks" --bind-to none --mca odls_base_sigkill_timeout 600 --mca oob_tcp_keepalive_time 60 \
    --mca oob_tcp_keepalive_intvl 10 --mca oob_tcp_keepalive_probes 3 ${MOEC_HOSTS:+--host "$MOEC_HOSTS"} $pass \
    "$moec" train "$@"
