// pith chat: a conversation. The cache stays from turn to turn; only what is new is read.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "base/progress.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "engine/snapshot.h"

namespace pith {
namespace {

using Clock = std::chrono::steady_clock;

struct ChatFlags {
  EngineFlags engine;
  GenerateFlags generate;
  std::string system;
  bool raw = false, json = false;
};

constexpr const char* kHelp =
    "/reset       forget the conversation\n"
    "/save FILE   save it, with the cache\n"
    "/load FILE   go on with a saved one\n"
    "/exit        leave (or Ctrl-D)\n"
    "Ctrl-C stops a reply. A line that begins with a blank is never a command.\n";

std::string MessagesToNote(const std::vector<ChatMessage>& messages) {
  nlohmann::json note;
  for (const ChatMessage& message : messages) {
    note["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  return note.dump();
}

// Nothing if the note is not one of a chat.
std::optional<std::vector<ChatMessage>> NoteToMessages(const std::string& note) {
  const auto json = nlohmann::json::parse(note, nullptr, false);
  if (!json.is_object() || !json.contains("messages") || !json["messages"].is_array()) return {};
  std::vector<ChatMessage> messages;
  for (const auto& entry : json["messages"]) {
    if (!entry.is_object() || !entry.contains("role") || !entry["role"].is_string() ||
        !entry.contains("content") || !entry["content"].is_string()) {
      return {};
    }
    messages.push_back({entry["role"].get<std::string>(), entry["content"].get<std::string>()});
  }
  return messages;
}

class Chat {
 public:
  Chat(const ChatFlags& flags, OpenedEngine opened, Sequence sequence, Sampler sampler)
      : flags_(flags),
        opened_(std::move(opened)),
        engine_(*opened_.engine),
        sampler_(std::move(sampler)),
        first_state_(sampler_.State()),
        sequence_(std::move(sequence)),
        messages_(FirstMessages()) {}

  Status CheckTemplate() const;
  Status Loop();

 private:
  std::vector<ChatMessage> FirstMessages() const {
    if (flags_.system.empty()) return {};
    return {{"system", flags_.system}};
  }
  Result<bool> Obey(const std::string& line);  // false: leave
  Status Turn(const std::string& text);
  Result<std::vector<int32_t>> TokensWith(const std::string& text) const;
  Result<bool> Read(std::span<const int32_t> tokens);  // false: interrupted
  Status Reply(RunReport* report);
  void Rewind(size_t num_tokens);
  Status Reset();
  Status Save(const std::string& path);
  Status Load(const std::string& path);

  const ChatFlags& flags_;
  OpenedEngine opened_;
  Engine& engine_;
  Sampler sampler_;
  SamplerState first_state_;
  Sequence sequence_;
  std::vector<ChatMessage> messages_;  // unused with --raw
  std::vector<float> logits_;          // of the last token of sequence_; empty if there are none
  Output output_;
};

Status Chat::CheckTemplate() const {
  if (flags_.raw) return {};
  const ChatMessage probe[] = {{"user", "Hello"}};
  auto rendered = engine_.tokenizer().ApplyChatTemplate(probe, true);
  if (rendered) return {};
  Error error = rendered.error();
  error.hint = "With --raw your lines go to the model as they are.";
  return tl::unexpected(std::move(error));
}

// All tokens that the model shall have seen before it answers `text`.
Result<std::vector<int32_t>> Chat::TokensWith(const std::string& text) const {
  const Tokenizer& tokenizer = engine_.tokenizer();
  if (!flags_.raw) {
    std::vector<ChatMessage> messages = messages_;
    messages.push_back({"user", text});
    PITH_ASSIGN(const std::string rendered, tokenizer.ApplyChatTemplate(messages, true));
    return tokenizer.Tokenize(rendered, true, true);
  }
  const bool first = sequence_.tokens.empty();
  PITH_ASSIGN(const auto line, tokenizer.Tokenize(first ? text : "\n" + text, first, true));
  std::vector<int32_t> tokens = sequence_.tokens;
  tokens.insert(tokens.end(), line.begin(), line.end());
  return tokens;
}

void Chat::Rewind(size_t num_tokens) {
  if (num_tokens >= sequence_.tokens.size()) return;
  sequence_.Truncate(num_tokens);
  logits_.clear();
}

Result<bool> Chat::Read(std::span<const int32_t> tokens) {
  const size_t before = sequence_.tokens.size();
  Progress progress("reading", "tok");
  auto logits = FeedPrompt(engine_, sequence_, sampler_, tokens, [&](size_t done, size_t total) {
    progress.Update(done, total);
    return !InterruptGuard::flag();
  });
  if (logits) {
    logits_.assign(logits->begin(), logits->end());
    return true;
  }
  Rewind(before);
  if (InterruptGuard::flag()) return false;
  return tl::unexpected(logits.error());
}

Status Chat::Reply(RunReport* report) {
  const auto show = [&](std::string_view text) {
    if (!flags_.json) output_.Write(text);
  };
  PITH_ASSIGN(report->generation,
              Generate(engine_, sequence_, sampler_, logits_, flags_.generate.generate, show,
                       &InterruptGuard::flag()));
  PITH_ASSIGN(const auto logits, FeedPending(engine_, sequence_, report->generation));
  logits_ = std::vector<float>(logits.begin(), logits.end());  // they may be a view of logits_
  DescribeCache(engine_, sequence_, report);
  output_.Write(flags_.json ? JsonLine(ReportJson(*report, sequence_.kv)) : "\n");
  return output_.status();
}

Status Chat::Turn(const std::string& text) {
  PITH_ASSIGN(const std::vector<int32_t> wanted, TokensWith(text));
  const uint64_t context = engine_.MaxTokens(sequence_);
  if (wanted.size() >= context) {
    return InputError("the conversation has grown to " + FormatCount(wanted.size()) +
                          " tokens, and the context of " + FormatCount(context) +
                          " leaves no room to answer",
                      "--ctx", "Begin anew with /reset, or start with a longer --ctx.");
  }
  // Usually all that was read stays. Where the template or the tokenizer writes earlier turns in
  // another way now, they are read again from there on.
  const auto [kept_end, wanted_end] =
      std::mismatch(sequence_.tokens.begin(), sequence_.tokens.end(), wanted.begin(), wanted.end());
  const size_t same = static_cast<size_t>(wanted_end - wanted.begin());
  const size_t kept = std::min(same, wanted.size() - 1);  // something must be fed to get logits
  Rewind(kept);

  RunReport report;
  report.load_ms = opened_.load_ms;
  report.prompt_tokens = wanted.size();
  report.fed_tokens = wanted.size() - kept;
  const auto begin = Clock::now();
  PITH_ASSIGN(const bool read, Read(std::span(wanted).subspan(kept)));
  if (!read) {
    Say("stopped; the message was not taken in");
    return {};
  }
  report.prefill_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  PITH_TRY(Reply(&report));
  if (!flags_.raw) {
    messages_.push_back({"user", text});
    messages_.push_back({"assistant", report.generation.text});
  }
  return {};
}

Status Chat::Reset() {
  PITH_ASSIGN(sequence_, opened_.NewSequence());
  sequence_.tokens_to_come = flags_.generate.generate.max_tokens;
  sampler_.Restore(first_state_);
  messages_ = FirstMessages();
  logits_.clear();
  return {};
}

Status Chat::Save(const std::string& path) {
  if (logits_.empty()) {
    return InputError("there is nothing to save yet", path, "Say something first.");
  }
  const std::string note = flags_.raw ? "" : MessagesToNote(messages_);
  PITH_TRY(SaveSnapshot(engine_, sequence_, sampler_.State(), logits_, note, path));
  Say("saved " + FormatCount(sequence_.tokens.size()) + " tokens to " + path);
  return {};
}

Status Chat::Load(const std::string& path) {
  PITH_ASSIGN(Snapshot snapshot,
              LoadSnapshot(engine_, path, SessionRecipe(flags_.engine, opened_.kv)));
  std::vector<ChatMessage> messages;
  if (!flags_.raw) {
    auto read = NoteToMessages(snapshot.note);
    if (!read) {
      return InputError("the session holds no chat, only a text", path,
                        "Go on with it in pith chat --raw or pith run --load-session.");
    }
    messages = std::move(*read);
  }
  messages_ = std::move(messages);
  sequence_ = std::move(snapshot.sequence);
  sampler_.Restore(snapshot.sampler);
  logits_ = std::move(snapshot.logits);
  Say("loaded " + FormatCount(sequence_.tokens.size()) + " tokens from " + path);
  return {};
}

Result<bool> Chat::Obey(const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
  if (argument.empty() && (name == "/save" || name == "/load")) {
    return InputError(name + " needs a file", "chat", "Write " + name + " FILE.");
  }
  if (name == "/exit") return false;
  if (name == "/reset") {
    PITH_TRY(Reset());
  } else if (name == "/save") {
    PITH_TRY(Save(argument));
  } else if (name == "/load") {
    PITH_TRY(Load(argument));
  } else if (name == "/help") {
    std::fputs(kHelp, stderr);
  } else {
    return InputError("'" + name + "' is no command", "chat",
                      "See /help; a line that begins with a blank is never a command.");
  }
  return true;
}

Status Chat::Loop() {
  const bool interactive = InputIsTerminal();
  if (interactive) Say("type a message, or /help");
  const InterruptGuard guard;
  LineReader reader;
  std::string line;
  while (!output_.gone()) {
    if (interactive) std::fputs("> ", stderr);
    const LineReader::Event event = reader.Next(&line);
    if (event == LineReader::Event::kEnd) break;
    if (event == LineReader::Event::kInterrupt) {
      std::fputs("\n", stderr);
      Say("leave with /exit or Ctrl-D");
      InterruptGuard::Lower();
      continue;
    }
    if (line.empty()) continue;
    Result<bool> go_on = true;
    if (line.front() == '/') {
      go_on = Obey(line);
    } else if (auto done = Turn(line); !done) {
      go_on = tl::unexpected(done.error());
    }
    InterruptGuard::Lower();
    if (!go_on && !interactive) return tl::unexpected(go_on.error());
    if (!go_on) {
      PrintError(go_on.error());
    } else if (!*go_on) {
      break;
    }
  }
  return output_.status();
}

Status RunChat(const ChatFlags& flags) {
  if (flags.raw && !flags.system.empty()) {
    return InputError("--system needs the model's chat template, which --raw leaves out",
                      "command line", "Leave one of them out.");
  }
  PITH_ASSIGN(Sampler sampler, MakeSampler(flags.generate));
  PITH_ASSIGN(OpenedEngine opened, OpenEngine(flags.engine));
  PITH_ASSIGN(Sequence sequence, opened.NewSequence());
  sequence.tokens_to_come = flags.generate.generate.max_tokens;
  Chat chat(flags, std::move(opened), std::move(sequence), std::move(sampler));
  PITH_TRY(chat.CheckTemplate());
  return chat.Loop();
}

}  // namespace

void AddChat(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* command = app.add_subcommand(
      "chat",
      "Talks with a model, turn by turn.\n\n"
      "Messages are typed, or come as lines of standard input; replies go to standard output. The "
      "model's own chat template is used. /help shows what else can be typed.");
  const std::string group = "Conversation";
  command->add_option("--system", flags->system, "what the model is told before the first message")
      ->type_name("TEXT")
      ->group(group);
  command
      ->add_flag("--raw", flags->raw,
                 "no chat template: lines go to the model as they are, separated by line breaks")
      ->group(group);
  AddEngineFlags(*command, flags->engine);
  AddGenerateFlags(*command, flags->generate, 512);
  command->add_flag("--json", flags->json, "print one JSON object per reply, each on its own line")
      ->group("Output");
  command->footer(
      "Examples:\n"
      "  pith chat -m model.gguf --system \"Answer in one sentence.\"\n"
      "  echo \"The sky is\" | pith chat --raw -n 8");
  command->callback([flags, &context] { context.command = [flags] { return RunChat(*flags); }; });
}

}  // namespace pith
