#!/bin/bash
# shd-bids on a Slurm cluster: one participant, or one session, per task of an array.
#
#   shd-bids-slurm > slurm_array.sh
#   ls -d /data/bids/sub-* | xargs -n 1 basename > list.txt      # or lines "sub-01 ses-a"
#   sbatch --array=1-$(wc -l < list.txt)%20 slurm_array.sh BIDS_DIR OUTPUT_DIR WORK_DIR list.txt [FLAG ...]
#   sbatch --dependency=afterany:JOB --output=group-%j.log slurm_array.sh BIDS_DIR OUTPUT_DIR WORK_DIR group [FLAG ...]
#
# FLAGs go to shd-bids as they are. Each line has a work directory of its own below WORK_DIR, on a
# file system that all machines share: whatever ends a task, the next attempt finds there what is
# done. Five minutes before its time limit, and when it has to make room for other jobs, a task
# saves itself and is queued again, up to SHD_BIDS_RESTARTS times (20). What scancel ends, stays so.
#
# Variables, as in `sbatch --export=ALL,SHD_BIDS_IMAGE=/images/shd-bids.sif ...`:
#   SHD_BIDS_IMAGE     run this image with Apptainer, or Singularity; otherwise `shd-bids` from PATH.
#                      What FLAGs name outside of the three folders is bound with APPTAINER_BIND.
#   SHD_BIDS_SCRATCH   folder on a disk of the machine itself, the same on all machines: work there.
#                      What is done is copied to WORK_DIR when the task ends before it has finished,
#                      and back at the next attempt. If the machine dies, that attempt is lost.
#   SHD_BIDS_RESTARTS  how often a task may go back to the queue.
#
# The lines below are defaults: options of sbatch's command line win over them.
#SBATCH --job-name=shd-bids
#SBATCH --cpus-per-task=8
#SBATCH --mem=24G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=shd-bids-%A_%a.log

set -u

stop() {
    echo "shd-bids array: error: $*" >&2
    exit 2
}

[ "$#" -ge 4 ] || stop "expected BIDS_DIR OUTPUT_DIR WORK_DIR and a list of participants, or 'group'; found $# argument(s)."
bids_dir=$1 output_dir=$2 work_dir=$3 list=$4
shift 4

# What this task is about.
if [ "$list" = group ]; then
    level=group name=group selection=()
else
    [ -n "${SLURM_ARRAY_TASK_ID:-}" ] || stop "this is no task of an array; give sbatch --array=1-N, with N lines in $list."
    [ -r "$list" ] || stop "the list $list cannot be read."
    line=$(sed -n "${SLURM_ARRAY_TASK_ID}p" -- "$list" | tr -d '\r')
    read -r participant session rest <<< "$line" || true
    [ -n "${participant:-}" ] || stop "line $SLURM_ARRAY_TASK_ID of $list is empty; give sbatch --array=1-N, with N lines."
    [ -z "${rest:-}" ] || stop "line $SLURM_ARRAY_TASK_ID of $list is '$line'; expected a participant, and a session if you want one."
    participant=${participant#sub-} session=${session#ses-}
    case "$participant$session" in
        *[!a-zA-Z0-9+]*) stop "line $SLURM_ARRAY_TASK_ID of $list is '$line'; labels are letters and digits." ;;
    esac
    level=participant name="sub-$participant" selection=(--participant-label "$participant")
    if [ -n "$session" ]; then
        name="${name}_ses-$session"
        selection+=(--session-label "$session")
    fi
fi
kept_dir=$work_dir/$name
task_dir=$kept_dir
mkdir -p -- "$output_dir" "$work_dir" || stop "$output_dir or $work_dir cannot be made."

# On a disk of the machine: under a name that is the same at each attempt, so that its files are
# known again.
scratch=${SHD_BIDS_SCRATCH:-}
if [ -n "$scratch" ]; then
    place=$(printf '%s' "$work_dir" | cksum | cut -d ' ' -f 1)
    task_dir=$scratch/shd-bids-$(id -u)-$place/$name
    rm -rf -- "$task_dir"
    mkdir -p -- "$task_dir" || stop "SHD_BIDS_SCRATCH $scratch cannot be written."
    [ -d "$kept_dir" ] || [ ! -d "$kept_dir.old" ] || mv -- "$kept_dir.old" "$kept_dir"
    if [ -d "$kept_dir" ]; then
        cp -a -- "$kept_dir/." "$task_dir/" || stop "$kept_dir cannot be copied to $task_dir."
    fi
fi

keep() { # copy what is done to where the next attempt finds it, whole or not at all
    rm -rf -- "$kept_dir.new" "$kept_dir.old"
    cp -a -- "$task_dir" "$kept_dir.new" || return 1
    if [ -d "$kept_dir" ]; then mv -- "$kept_dir" "$kept_dir.old" || return 1; fi
    mv -- "$kept_dir.new" "$kept_dir" && rm -rf -- "$kept_dir.old"
}

image=${SHD_BIDS_IMAGE:-}
if [ -z "$image" ]; then
    command=(shd-bids)
else
    runner=$(command -v apptainer || command -v singularity) || stop "SHD_BIDS_IMAGE is set, but neither apptainer nor singularity is on PATH."
    [ -e "$image" ] || stop "SHD_BIDS_IMAGE $image is not there."
    mkdir -p -- "$task_dir"
    command=("$runner" run --cleanenv)
    for folder in "$bids_dir:ro" "$output_dir" "$task_dir"; do
        path=${folder%:ro}
        case "$path" in
            *[:,]*) stop "$path: Apptainer cannot bind a folder whose name holds a colon or a comma." ;;
        esac
        path=$(cd -- "$path" && pwd -P) || stop "$path is not there."
        case "$folder" in
            *:ro) command+=(--bind "$path:$path:ro") bids_dir=$path ;;
            *) command+=(--bind "$path:$path") ;;
        esac
    done
    output_dir=$(cd -- "$output_dir" && pwd -P)
    run_dir=$(cd -- "$task_dir" && pwd -P)
    # What Slurm allows, which shd-bids keeps to.
    for variable in SLURM_CPUS_PER_TASK SLURM_CPUS_ON_NODE SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU CUDA_VISIBLE_DEVICES; do
        [ -z "${!variable:-}" ] || command+=(--env "$variable=${!variable}")
    done
    [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || command+=(--nv)
    command+=("$image")
fi
# An empty array counts as unset for bash before 4.4.
command+=("$bids_dir" "$output_dir" "$level" ${selection[@]+"${selection[@]}"} --work-dir "${run_dir:-$task_dir}" "$@")

# In the background: only so does this script hear the signal, and it passes it on.
asked=no child=
trap 'asked=yes; [ -z "$child" ] || kill -TERM "$child" 2> /dev/null' TERM
echo "shd-bids array: $name on $(hostname), attempt $((${SLURM_RESTART_COUNT:-0} + 1))"
printf 'shd-bids array:'
printf ' %q' "${command[@]}"
echo
"${command[@]}" &
child=$!
while true; do
    wait "$child"
    code=$?
    # A signal ends the waiting, too.
    kill -0 "$child" 2> /dev/null || break
done
echo "shd-bids array: $name ended with exit code $code"

if [ -n "$scratch" ]; then
    if [ "$code" -eq 0 ]; then
        rm -rf -- "$kept_dir" "$kept_dir.new" "$kept_dir.old"
    else
        keep || echo "shd-bids array: $task_dir could not be copied to $kept_dir; the next attempt goes on from what was there." >&2
    fi
    rm -rf -- "$task_dir"
fi

# Asked to end while Slurm counts the task as running: it is near its time limit. Slurm itself
# queues again what makes room for others, and scancel means it.
if [ "$asked" = yes ] && [ "$code" -ne 0 ]; then
    job=$SLURM_JOB_ID # of the last task this is the number of the whole array, too
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    state=$(squeue --noheader --jobs "$job" --format %T 2> /dev/null)
    if [ "$state" != RUNNING ]; then
        echo "shd-bids array: $name was asked to end; the job is $state."
    elif [ "${SLURM_RESTART_COUNT:-0}" -ge "${SHD_BIDS_RESTARTS:-20}" ]; then
        echo "shd-bids array: $name was near its time limit for the ${SLURM_RESTART_COUNT}th time after a new start; give more --time." >&2
    elif [ "$code" -eq 143 ]; then
        echo "shd-bids array: $name goes back to the queue and on from there."
        scontrol requeue "$job"
    fi
fi
exit "$code"
