#!/bin/sh
# Holds this build of weir to PyTorch and measures it, on the GPU of this machine; writes gpu-check.md. See README.md.
here=$(dirname -- "$(readlink -f -- "$0")")
exec python3 "$here/gpu/gpu_check.py" --weir "$here/weir" "$@"
