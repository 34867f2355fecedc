#!/usr/bin/env bash
# Everything that only a GPU can show, part by part; a part whose result stands is not run again.
#
#   benchmarks/device.sh                     all parts, at most eight minutes
#   benchmarks/device.sh step-135m memory    some of them
#   benchmarks/device.sh --cpu --tiny        every part on a CPU with tiny shapes: whether the script runs, and no figure worth quoting
#   benchmarks/device.sh --again bf16        once more, although its result stands
#
# Parts: tests onnx step-135m step-1b bf16 memory proof. Results: JSON in $OUT, else in benchmarks/results/device/.
# Needs a Python with torch (PYTHON=…, else .venv's, else python3); what a part needs besides is said in its result, where it is missing.
# Models are random and made on the spot: nothing but this checkout has to be on the machine.
set -u
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
options=() parts=()
for word in "$@"; do
    case $word in --*) options+=("$word") ;; *) parts+=("$word") ;; esac
done
[ ${#parts[@]} -gt 0 ] || parts=(tests onnx step-135m step-1b bf16 memory proof)
# seconds; a CPU may take ten times as long
case " ${options[*]-} " in *" --cpu "*) times=10 ;; *) times=1 ;; esac
declare -A limit=([tests]=120 [onnx]=90 [step-135m]=60 [step-1b]=75 [bf16]=25 [memory]=35 [proof]=75)
failed=0
for part in "${parts[@]}"; do
    [ -n "${limit[$part]:-}" ] || { echo "device.sh: no part $part: ${!limit[*]}" >&2; exit 2; }
    seconds=$((${limit[$part]} * times))
    timeout "$seconds" "$python" -m benchmarks.device "$part" --out "${OUT:-benchmarks/results/device}" ${options[@]+"${options[@]}"}
    status=$?
    [ $status -eq 0 ] || { echo "device.sh: $part ended with $status (124: its $seconds s were over)" >&2; failed=1; }
done
exit $failed
