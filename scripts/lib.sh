# Shared by the scripts beside it; sourced, never run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -t 2 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain" >&2; }
die() { printf 'pith: error: %s\n' "$*" >&2; exit 1; }

# Compilations are found again by ccache whatever folder a clone lies in.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

# One pinned llama.cpp release, carried as source by this PyPI package: version and hash belong together.
PITH_LLAMA_CARRIER=llama_cpp_python
PITH_LLAMA_VERSION=0.3.35
PITH_LLAMA_SHA256=1139dbb54509074b70893fab8554e3b079aa9f4d312058ce4018ef0019e3de12
: "${HOME:=$(cd ~ && pwd)}"  # CI machines may start us without it
PITH_CACHE="${PITH_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pith}"

# The libraries are tuned for the processor that builds them, so the prefix carries a mark of it.
cpu_mark() {
  { grep -m1 -E '^(flags|Features)' /proc/cpuinfo || uname -m; } | sha256sum | cut -c1-8
}

# Where our own build of the flavour ("release" or "tsan") of ggml and libllama is installed.
llama_prefix() {
  printf '%s/llama-%s-%s-%s' "$PITH_CACHE" "$PITH_LLAMA_VERSION" "$1" "$(cpu_mark)"
}

# The prefix a CMake preset builds against. PITH_LLAMA_PREFIX replaces all but the ThreadSanitizer flavour, which
# nobody else offers.
preset_prefix() {
  if [ "$1" = tsan ]; then llama_prefix tsan; else printf '%s' "${PITH_LLAMA_PREFIX:-$(llama_prefix release)}"; fi
}

configure_preset() {
  cmake --preset "$1" -DPITH_LLAMA_PREFIX="$(preset_prefix "$1")" >/dev/null
}

# build_preset PRESET [arguments of cmake --build]: every build goes through here, so that scripts agree on prefixes.
build_preset() {
  local preset=$1; shift
  configure_preset "$preset" && cmake --build --preset "$preset" -j "$(nproc)" "$@"
}

# Our formatting rules belong to one version of clang-format; another one would quarrel about every file.
check_clang_format() {
  clang-format-19 --version 2>/dev/null | grep -q 'version 19\.' ||
    die "clang-format 19 is missing (clang-format-19). Run scripts/deps --test."
}

cxx_files() { find src tests tools fuzz -name '*.cc' -o -name '*.h' | sort; }
