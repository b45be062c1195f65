#!/usr/bin/env bash
# Trains configurations on all nodes of a Slurm allocation: Ray starts on each of them, bnexp on the first.
#
#   sbatch examples/slurm.sh configs/cifar_resnet_depth.yaml [KEY=VALUE ...]
#
# Run folders are written below the folder that it was submitted from. Two minutes before the time is up bnexp saves
# what it has; submitted again, the same line goes on from there. The nodes need bnexp[ray] in the environment that is
# active here; the data set is needed on the first one alone.
#
#SBATCH --job-name=bnexp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=8
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

port=${RAY_PORT:-6379}
cpus=${SLURM_CPUS_PER_TASK:-1}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address="${nodes[0]}:$port"
# A password of the cluster: nobody else on the network can join it. srun hands it on to the nodes.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')

on() { # NODE COMMAND...: run a command on a node until the job ends
    srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --nodelist="$1" "${@:2}" &
}

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
on "${nodes[0]}" ray start --head --port="$port" --num-cpus="$cpus" --disable-usage-stats --block
head=$!
until ray status --address="$address" >/dev/null 2>&1; do
    kill -0 $head 2>/dev/null || { echo "Ray did not start on ${nodes[0]}" >&2; exit 1; }
    sleep 2
done
for node in "${nodes[@]:1}"; do
    on "$node" ray start --address="$address" --num-cpus="$cpus" --disable-usage-stats --block
done
# The others may come while bnexp runs, but the plan is made for those that are there when it begins.
for _ in {1..60}; do
    [ "$(ray status --address="$address" | grep -c '^ 1 node_')" -ge "${#nodes[@]}" ] && break
    sleep 2
done

bnexp run "$@" --engine ray --address "$address" &
bnexp=$!
trap 'kill -TERM $bnexp' TERM
ended=0
while kill -0 $bnexp 2>/dev/null; do # a signal ends a wait, too
    wait $bnexp && ended=0 || ended=$?
done
exit $ended
