// pith inspect: what a model file holds, what its cache costs, and what fits; with a text, what a
// recipe keeps of it (inspect_cache.h).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/inspect_cache.h"
#include "cli/options.h"
#include "cli/profile_text.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "codec/codec.h"
#include "gguf/gguf.h"
#include "model/model.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  InspectCacheFlags cache;  // the model and --json are those of both uses
  std::string positional;
  std::vector<std::string> fit;
  bool tensors = false, keys = false;
};

// What the description of a file reads beside --json; all other options are about a text.
constexpr std::string_view kOfFiles[] = {"--fit", "--tensors", "--keys"};
constexpr std::string_view kOfBoth[] = {"model", "--model", "--json", "--html"};

struct TypeTotal {
  uint64_t count = 0, bytes = 0;
};

std::map<std::string, TypeTotal> TensorTypes(const GgufFile& file) {
  std::map<std::string, TypeTotal> totals;
  for (const GgufTensor& tensor : file.tensors()) {
    TypeTotal& total = totals[TensorTypeName(tensor.type)];
    ++total.count;
    total.bytes += tensor.size;
  }
  return totals;
}

uint64_t CacheBytesPerToken(const ModelShape& shape, const Form& form) {
  const uint64_t numbers =
      uint64_t{shape.num_layers} * shape.num_kv_heads * (shape.key_dim + shape.value_dim);
  return static_cast<uint64_t>(form.bits_per_value * static_cast<double>(numbers) / 8.0 + 0.5);
}

// Tokens of cache that `memory` holds beside the weights.
uint64_t TokensThatFit(const ModelShape& shape, const Form& form, uint64_t memory) {
  if (memory <= shape.weight_bytes) return 0;
  return (memory - shape.weight_bytes) / CacheBytesPerToken(shape, form);
}

// File contents on a terminal: no control characters, no more than `width` columns' worth of bytes.
std::string Printable(std::string_view text, size_t width) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += c == '\n'                     ? "\\n"
           : byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte)
                                         : std::string(1, c);
    if (out.size() > width) break;
  }
  if (out.size() <= width) return out;
  size_t cut = width - 3;
  while (cut > 0 && (static_cast<unsigned char>(out[cut]) & 0xc0) == 0x80)
    --cut;  // whole characters
  return out.substr(0, cut) + "...";
}

struct ValueText {
  std::string operator()(uint64_t value) const { return std::to_string(value); }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::string_view value) const { return std::string(value); }
  std::string operator()(const GgufArray& value) const {
    return fmt::format("[{} x {}]", FormatCount(value.count), GgufTypeName(value.type));
  }
};

struct ValueJson {
  template <class T>
  Json operator()(const T& value) const {
    return value;
  }
  Json operator()(std::string_view value) const { return std::string(value); }
  Json operator()(const GgufArray& value) const {
    return {{"array_of", GgufTypeName(value.type)}, {"count", value.count}};
  }
};

std::string KeysText(const GgufFile& file) {
  std::string text;
  for (const GgufValue& value : file.values()) {
    const std::string left = fmt::format("{:<6} {} = ", GgufTypeName(value.type), value.key);
    const size_t room = left.size() < 60 ? 80 - left.size() : 20;
    text += left + Printable(std::visit(ValueText{}, value.value), room) + "\n";
  }
  return text;
}

std::string ShapeOf(const GgufTensor& tensor) {
  std::string text;
  for (uint32_t dim = 0; dim < tensor.num_dims; ++dim) {
    text += (dim > 0 ? " x " : "") + std::to_string(tensor.ne[dim]);
  }
  return text;
}

std::string TensorsText(const GgufFile& file) {
  std::string text;
  for (const GgufTensor& tensor : file.tensors()) {
    text += fmt::format("{:<32} {:<7} {:<22} {:>10}\n", Printable(tensor.name, 60),
                        TensorTypeName(tensor.type), ShapeOf(tensor), FormatBytes(tensor.size));
  }
  return text;
}

std::string Row(std::string_view name, const std::string& value) {
  return fmt::format("{:<15} {}\n", name, value);
}

std::string ModelText(const GgufFile& file, const ModelShape& shape) {
  std::string types;
  for (const auto& [name, total] : TensorTypes(file)) {
    types += fmt::format("{}{} {} {}", types.empty() ? "" : ", ", FormatCount(total.count), name,
                         total.count == 1 ? "tensor" : "tensors");
  }
  const std::string files =
      file.files().size() > 1 ? fmt::format(" in {} files", file.files().size()) : "";
  std::string text = Row("file", file.path());
  text += Row("model",
              fmt::format("{} ({})", shape.name.empty() ? "no name" : Printable(shape.name, 50),
                          shape.architecture));
  text += Row("parameters", FormatCount(shape.num_parameters));
  text += Row("weights", FormatBytes(shape.weight_bytes) + files + ": " + types);
  text += Row("layers", fmt::format("{} of width {}, feed-forward {}", shape.num_layers,
                                    shape.width, FormatCount(shape.feed_forward)));
  if (shape.num_experts > 0) {
    text +=
        Row("experts", fmt::format("{}, {} at a time", shape.num_experts, shape.num_experts_used));
  }
  text += Row("heads", fmt::format("{} query, {} KV; {} numbers per key, {} per value",
                                   shape.num_query_heads, shape.num_kv_heads, shape.key_dim,
                                   shape.value_dim));
  text += Row("vocabulary", FormatCount(shape.vocabulary));
  text += Row("context", FormatCount(shape.context) + " tokens in training" +
                             (shape.window > 0 ? ", window of " + FormatCount(shape.window) : ""));
  text += Row("chat template",
              file.Find("tokenizer.chat_template") != nullptr ? "in the file" : "none");
  return text;
}

std::string CostText(const ModelShape& shape, std::span<const uint64_t> memories) {
  std::string head = fmt::format("{:<15}", "");
  std::string per_token = fmt::format("{:<15}", "cache per token");
  for (const Form* form : Forms()) {
    head += fmt::format(" {:>11}", form->name);
    per_token += fmt::format(" {:>11}", FormatBytes(CacheBytesPerToken(shape, *form)));
  }
  std::string text = "\n" + head + "\n" + per_token + "\ntokens that fit beside the weights in\n";
  for (const uint64_t memory : memories) {
    text += fmt::format("  {:<13}", FormatBytes(memory));
    for (const Form* form : Forms()) {
      const uint64_t tokens = TokensThatFit(shape, *form, memory);
      text += fmt::format(" {:>11}", tokens == 0 ? "-" : FormatCount(tokens));
    }
    text += "\n";
  }
  return text;
}

Json ModelJson(const GgufFile& file, const ModelShape& shape, std::span<const uint64_t> memories) {
  Json json;
  json["path"] = file.path();
  json["files"] = file.files().size();
  json["bytes"] = file.total_bytes();
  json["name"] = shape.name;
  json["architecture"] = shape.architecture;
  json["parameters"] = shape.num_parameters;
  json["weight_bytes"] = shape.weight_bytes;
  json["layers"] = shape.num_layers;
  json["width"] = shape.width;
  json["feed_forward"] = shape.feed_forward;
  json["experts"] = shape.num_experts;
  json["experts_used"] = shape.num_experts_used;
  json["query_heads"] = shape.num_query_heads;
  json["kv_heads"] = shape.num_kv_heads;
  json["key_dim"] = shape.key_dim;
  json["value_dim"] = shape.value_dim;
  json["vocabulary"] = shape.vocabulary;
  json["context"] = shape.context;
  json["window"] = shape.window;
  json["chat_template"] = file.Find("tokenizer.chat_template") != nullptr;
  for (const auto& [name, total] : TensorTypes(file)) {
    json["tensor_types"][name] = {{"count", total.count}, {"bytes", total.bytes}};
  }
  for (const Form* form : Forms()) {
    json["cache_bytes_per_token"][std::string(form->name)] = CacheBytesPerToken(shape, *form);
  }
  for (const uint64_t memory : memories) {
    Json fit{{"memory_bytes", memory}};
    for (const Form* form : Forms()) {
      fit["tokens"][std::string(form->name)] = TokensThatFit(shape, *form, memory);
    }
    json["fit"].push_back(fit);
  }
  return json;
}

void AddLists(const GgufFile& file, const InspectFlags& flags, Json* json) {
  if (flags.keys) {
    for (const GgufValue& value : file.values()) {
      (*json)["keys"][value.key] = std::visit(ValueJson{}, value.value);
    }
  }
  if (flags.tensors) {
    for (const GgufTensor& tensor : file.tensors()) {
      Json shape(std::vector<int64_t>(tensor.ne.begin(), tensor.ne.begin() + tensor.num_dims));
      (*json)["tensors"].push_back({{"name", tensor.name},
                                    {"type", TensorTypeName(tensor.type)},
                                    {"shape", shape},
                                    {"file", tensor.file},
                                    {"offset", tensor.offset},
                                    {"bytes", tensor.size}});
    }
  }
}

Result<std::vector<uint64_t>> Memories(const InspectFlags& flags) {
  std::vector<uint64_t> memories;
  for (const std::string& text : flags.fit) {
    PITH_ASSIGN(const uint64_t memory, ParseBytes(text, "--fit"));
    memories.push_back(memory);
  }
  for (uint64_t gib = 1; flags.fit.empty() && gib <= 16; gib *= 2) memories.push_back(gib << 30);
  return memories;
}

Status InspectProfile(const InspectFlags& flags, const std::string& path) {
  if (!flags.fit.empty()) {
    return InputError("this is a profile, and --fit is for models", path, "Leave --fit out.");
  }
  PITH_ASSIGN(const Profile profile, ReadProfile(path));
  if (const std::string& html = flags.cache.html; !html.empty()) {
    PITH_TRY(CheckPage(flags.cache, {path}));
    PITH_TRY(WriteText(html, ProfileHtml(profile, path)));
    Say("the maps are in " + html);
    return {};
  }
  Output output;
  output.Write(flags.cache.json ? JsonLine(ProfileJson(profile, path))
                                : ProfileText(profile, path));
  return output.status();
}

// Refuses options that would be ignored.
Status CheckUse(const CLI::App& command, bool has_text) {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || std::ranges::find(kOfBoth, name) != std::end(kOfBoth)) continue;
    const bool of_file = std::ranges::find(kOfFiles, name) != std::end(kOfFiles);
    if (of_file && has_text) {
      return InputError(name + " says nothing to a text", "command line", "Leave it or -f out.");
    }
    if (!of_file && !has_text) {
      return InputError(name + " needs a text", "command line", "Give it with -f FILE.");
    }
  }
  return {};
}

Status Inspect(const CLI::App& command, InspectFlags& flags) {
  std::string& model = flags.cache.engine.model;
  if (!model.empty() && !flags.positional.empty()) {
    return InputError("the model is named twice", "command line", "Name it once.");
  }
  if (model.empty()) model = flags.positional;
  PITH_TRY(CheckUse(command, !flags.cache.file.empty()));
  if (!flags.cache.file.empty()) return InspectCache(flags.cache);
  PITH_ASSIGN(const std::vector<uint64_t> memories, Memories(flags));
  PITH_ASSIGN(const std::string path, ResolveModel(model));
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(path));
  const bool lists = flags.keys || flags.tensors;
  if (IsProfile(file) && !lists) return InspectProfile(flags, path);
  if (!flags.cache.html.empty()) {
    return InputError("--html draws what is kept of a text, or a profile as a whole", path,
                      lists ? "Leave --html out." : "Give the text with -f FILE.");
  }
  Output output;
  // Lists need no model that can be run, so that they help with one that cannot.
  if (!flags.cache.json && lists) {
    if (flags.keys) output.Write(KeysText(file));
    if (flags.tensors) output.Write(TensorsText(file));
    return output.status();
  }
  Json json;
  if (lists) {
    AddLists(file, flags, &json);
  } else {
    PITH_ASSIGN(const ModelShape shape, ReadModelShape(file));
    if (!flags.cache.json) {
      output.Write(ModelText(file, shape) + CostText(shape, memories));
      return output.status();
    }
    json = ModelJson(file, shape, memories);
  }
  output.Write(JsonLine(json));
  return output.status();
}

}  // namespace

void AddInspect(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Shows what a model file holds and what its cache costs, what a recipe keeps, or what a "
      "profile holds.\n\n"
      "Without a text only the file's description is read, not its weights; the table of what fits "
      "counts weights and a full cache, and working memory comes on top. With a text (-f) the "
      "model reads it, the cache is compressed, and the kept positions of every layer and KV head "
      "are listed.");
  command
      ->add_option("model", flags->positional, "GGUF model or profile (default: the bundled model)")
      ->option_text("MODEL");
  const std::string file = "The model file";
  command->add_option("--fit", flags->fit, "memory to fit into, such as 8GiB; may be repeated")
      ->type_name("SIZE")
      ->allow_extra_args(false)
      ->group(file);
  command->add_flag("--tensors", flags->tensors, "list all tensors instead")->group(file);
  command->add_flag("--keys", flags->keys, "list all metadata instead")->group(file);
  const std::string text = "What is kept of a text";
  InspectCacheFlags& cache = flags->cache;
  command->add_option("-f,--file", cache.file, "the text; - for standard input")
      ->type_name("FILE")
      ->group(text);
  command->add_flag("--scores", cache.scores, "list the scores of all entries instead")
      ->group(text);
  AddEngineFlags(*command, cache.engine);
  command
      ->add_option("--html", cache.html,
                   "draw a page instead: the map of what is kept, or the maps of a profile")
      ->type_name("OUT")
      ->group("Output");
  command->add_flag("--json", cache.json, "print one JSON object")->group("Output");
  command->footer(
      "Examples:\n"
      "  pith inspect model.gguf --fit 8GiB\n"
      "  pith inspect --tensors\n"
      "  pith inspect -f report.txt --kv snapkv --kv-budget 10% --html kept.html\n"
      "  pith inspect model.profile.gguf --html heads.html");
  command->callback(
      [flags, command, &context] { context.command = [=] { return Inspect(*command, *flags); }; });
}

}  // namespace pith
