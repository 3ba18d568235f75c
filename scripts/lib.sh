# Shared by the scripts beside it; sourced, never run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say()  { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die()  { printf 'pith: error: %s\n' "$*" >&2; exit 1; }

# One pinned llama.cpp release, carried as source by this PyPI package: version and hash belong together.
PITH_LLAMA_CARRIER=llama_cpp_python
PITH_LLAMA_VERSION=0.3.35
PITH_LLAMA_SHA256=1139dbb54509074b70893fab8554e3b079aa9f4d312058ce4018ef0019e3de12
PITH_CACHE="${PITH_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pith}"

# The libraries are tuned for the processor that builds them, so the prefix carries a mark of it.
cpu_mark() {
  { grep -m1 -E '^(flags|Features)' /proc/cpuinfo || uname -m; } | sha256sum | cut -c1-8
}

# Where the flavour ("release" or "tsan") of ggml and libllama is installed.
llama_prefix() {
  printf '%s/llama-%s-%s-%s' "$PITH_CACHE" "$PITH_LLAMA_VERSION" "$1" "$(cpu_mark)"
}

# Every build of the project goes through here, so that scripts agree on jobs and prefixes.
build_preset() {
  local preset=$1; shift
  local flavour=release
  [ "$preset" = tsan ] && flavour=tsan
  cmake --preset "$preset" -DPITH_LLAMA_PREFIX="${PITH_LLAMA_PREFIX:-$(llama_prefix $flavour)}" >/dev/null
  cmake --build --preset "$preset" "$@"
}
