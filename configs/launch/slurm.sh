#!/bin/sh
# moec train under Slurm (docs/parallel.md): one rank for each node, saved five minutes before the limit, and queued again until it is done.
#
# usage: sbatch [--nodes=4 …] configs/launch/slurm.sh RUN CONFIG [key=value …]
# example: sbatch --nodes=4 configs/launch/slurm.sh runs/own configs/upcycle-9l.yaml
#
# RUN and the data lie where all nodes see them; `accumulate` is a multiple of the number of nodes. Slurm's MPI must be moec's: srun
# --mpi=list should name pmix, else moec says that it sees one rank.
#SBATCH --job-name=moec
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
[ $# -ge 2 ] || { sed -n '4,5s/^# //p' "$0" >&2; exit 2; }
run=$1 config=$2
shift 2
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
mkdir -p "$run"
srun --mpi=pmix --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 "${MOEC:-build/moec}" train "$config" run="$run" "$@" --resume
status=$?
[ $status -ne 130 ] || scontrol requeue "$SLURM_JOB_ID" # SIGUSR1: it is saved and not done
exit $status
