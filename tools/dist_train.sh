#!/usr/bin/env bash
# Train on several GPUs of this machine, or of NNODES machines.
# Usage: tools/dist_train.sh CONFIG GPUS [arguments of train.py]
set -eu
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2

# Without MASTER_PORT a free one is taken, so that two jobs do not collide.
if [ -n "${NNODES:-}" ]; then
    rendezvous=(--nnodes "$NNODES" --node-rank "${NODE_RANK:?}"
                --master-addr "${MASTER_ADDR:?}"
                --master-port "${MASTER_PORT:-29500}")
else
    rendezvous=(--standalone)
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" \
    --nproc-per-node "$gpus" "$(dirname "$0")/train.py" \
    "$config" --launcher pytorch "$@"
