#!/usr/bin/env bash
# Train on a cluster that is managed by Slurm.
# Usage: tools/slurm_train.sh PARTITION JOB CONFIG GPUS [arguments of train.py]
# Environment: GPUS_PER_NODE (default: GPUS, at most 8), CPUS_PER_TASK
# (default: 5), SRUN_ARGS (further arguments of srun), PYTHON.
set -eu
if [ $# -lt 4 ] || ! [[ $4 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 PARTITION JOB CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
gpus=$4
shift 4

gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -ra srun_args <<< "${SRUN_ARGS:-}"
# One process lost: all others would wait for it.
exec srun --partition "$partition" --job-name "$job" \
    --gres "gpu:$gpus_per_node" --ntasks "$gpus" \
    --ntasks-per-node "$gpus_per_node" \
    --cpus-per-task "${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" \
    "$config" --launcher slurm "$@"
