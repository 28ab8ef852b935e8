#!/bin/sh
# Starts weir with the CUDA libraries of this machine: those of LD_LIBRARY_PATH, of Python's packages and of the system, in
# this order. Where one is nowhere, a stand-in takes its place, and weir finds no GPU instead of not starting.
here=$(dirname -- "$(readlink -f -- "$0")")
path=$LD_LIBRARY_PATH
for python in ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python3"} python3; do
    if command -v "$python" >/dev/null 2>&1; then
        for folder in $("$python" -c 'import sys; print("\n".join(p for p in sys.path if " " not in p))'); do
            for library in "$folder"/nvidia/*/lib; do
                [ -d "$library" ] && path=$path:$library
            done
        done
        break
    fi
done
LD_LIBRARY_PATH=${path#:}:$here/lib
LD_LIBRARY_PATH=${LD_LIBRARY_PATH#:}
export LD_LIBRARY_PATH
missing=
for name in $(ldd "$here/bin/weir" 2>/dev/null | awk '/not found/ { print $1 }'); do
    if [ -d "$here/no-gpu/$name" ]; then
        missing=${missing:+$missing, }$name
        LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$here/no-gpu/$name
    fi
done
[ -z "$missing" ] || echo "weir: not on this machine, so no GPU can be used: $missing" >&2
# gpu-check starts the tests of the kernels in the same way.
exec "${GPU_CHECK_PROGRAM:-$here/bin/weir}" "$@"
