#include "eval/memory_peak.h"

#include <malloc.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "eval/llama_peer.h"
#include "gguf/gguf.h"
#include "model/weights.h"

extern char** environ;

namespace pith {
namespace {

constexpr uint32_t kDecodeTokens = 8;

// A figure of /proc/self/status, which is in KiB, in bytes.
Result<uint64_t> StatusFigure(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, name.size() + 1, name + ":") != 0) continue;
    uint64_t kib = 0;
    if (std::istringstream(line.substr(name.size() + 1)) >> kib) return kib * 1024;
  }
  return Failure("the system does not tell " + name, "/proc/self/status");
}

// Sets the peak back to what is resident now (proc(5), clear_refs).
Status ResetPeak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  if (!file)
    return Failure("the peak of resident memory cannot be set back", "/proc/self/clear_refs");
  return {};
}

Result<MemoryPeak> Exercise(Contestant& contestant, const MemoryTask& task, uint32_t vocabulary) {
  const uint32_t chunk = std::min(task.chunk, task.context);
  const auto prompt = BenchTokens(chunk, vocabulary);
  PITH_TRY(contestant.Feed(prompt));
  PITH_ASSIGN(const uint64_t peak_before, StatusFigure("VmHWM"));

  PITH_TRY(contestant.Fill(task.context - chunk));
  malloc_trim(0);  // what filling needed
  PITH_TRY(ResetPeak());
  PITH_TRY(contestant.Feed(prompt));
  PITH_TRY(contestant.EndPrompt());
  for (const int32_t token : BenchTokens(kDecodeTokens, vocabulary)) {
    PITH_TRY(contestant.Feed({&token, 1}));
  }

  MemoryPeak result;
  PITH_ASSIGN(result.peak, StatusFigure("VmHWM"));
  PITH_ASSIGN(result.anonymous, StatusFigure("RssAnon"));
  PITH_ASSIGN(result.file, StatusFigure("RssFile"));
  result.peak = std::max(result.peak, peak_before);
  return result;
}

Result<MemoryPeak> ExercisePith(const MemoryTask& task) {
  EngineOptions options;
  options.model_path = task.model_path;
  options.context = task.context + kDecodeTokens;
  options.num_threads = task.threads;
  options.chunk = task.chunk;
  options.profile_path = task.profile_path;
  options.key_form = task.recipe.plan.storage.key_tail;
  options.value_form = task.recipe.plan.storage.value_tail;
  PITH_ASSIGN(const std::unique_ptr<Engine> engine, Engine::Create(options));
  const bool full = task.engine == MemoryEngine::kPithFull;
  const PlannedRun kv = full ? engine->NewSequence().kv : task.recipe;
  PITH_ASSIGN(const auto contestant, PithContestant::Create(engine.get(), kv));
  return Exercise(*contestant, task, engine->model().shape().vocabulary);
}

Result<ModelShape> ShapeOf(const std::string& path) {
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(path));
  return ReadModelShape(file);
}

Result<MemoryPeak> ExerciseLlama(const MemoryTask& task) {
  PITH_ASSIGN(const ModelShape shape, ShapeOf(task.model_path));
  PITH_ASSIGN(const std::unique_ptr<LlamaModel> model, LlamaModel::Load(task.model_path, shape));
  LlamaSettings settings;
  settings.context = task.context + kDecodeTokens;
  settings.chunk = task.chunk;
  settings.num_threads = task.threads;
  settings.flash_attention = task.engine == MemoryEngine::kLlamaFlash;
  settings.key_type = LlamaCacheType(task.recipe.plan.storage.key_form());
  settings.value_type = LlamaCacheType(task.recipe.plan.storage.value_form());
  PITH_ASSIGN(const std::unique_ptr<LlamaContestant> contestant,
              LlamaContestant::Create(*model, settings));
  return Exercise(*contestant, task, shape.vocabulary);
}

// Everything a child writes to `fd` until it ends.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) != 0;) {
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    if (n < 0 && errno != EINTR) break;
  }
  return text;
}

}  // namespace

std::string_view MemoryEngineName(MemoryEngine engine) {
  switch (engine) {
    case MemoryEngine::kPith:
      return kPithName;
    case MemoryEngine::kPithFull:
      return kPithFullName;
    case MemoryEngine::kLlamaFlash:
      return LlamaName(true);
    case MemoryEngine::kLlamaPlain:
      return LlamaName(false);
  }
  return {};
}

Result<MemoryPeak> MeasureMemoryHere(const MemoryTask& task) {
  const bool ours = task.engine == MemoryEngine::kPith || task.engine == MemoryEngine::kPithFull;
  return ours ? ExercisePith(task) : ExerciseLlama(task);
}

std::string ToLine(const MemoryPeak& peak) {
  return std::to_string(peak.peak) + " " + std::to_string(peak.anonymous) + " " +
         std::to_string(peak.file) + "\n";
}

Result<MemoryPeak> MeasureMemoryInChild(const std::vector<std::string>& arguments) {
  std::string program = "/proc/self/exe";
  std::vector<std::string> words = arguments;
  std::vector<char*> argv{program.data()};
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  if (pipe(ends) != 0) return Failure("no pipe to a child process", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int failed = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string text = failed == 0 ? ReadAll(ends[0]) : std::string();
  close(ends[0]);
  if (failed != 0) return Failure("no child process for memory peaks", std::strerror(failed));

  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  MemoryPeak peak;
  std::istringstream line(text);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
      !(line >> peak.peak >> peak.anonymous >> peak.file)) {
    return Failure("the child process that measures memory peaks failed", {},
                   "Its message stands above; more free memory may help.");
  }
  return peak;
}

}  // namespace pith
