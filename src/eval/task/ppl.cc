// Running text to be scored instead of a question: its beginning is the context, what follows it is
// answers[0]. Both are cut where tokenizing them apart gives the tokens of the whole.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "eval/task/fit.h"
#include "eval/task/passage.h"
#include "eval/task/task.h"

namespace pith {
namespace {

struct Cut {
  std::string context, continuation;
  size_t context_tokens = 0, scored_tokens = 0;
};

using Tokens = std::vector<int32_t>;

bool IsJoint(const Tokens& whole, const Tokens& left, const Tokens& right) {
  return left.size() + right.size() <= whole.size() &&
         std::equal(left.begin(), left.end(), whole.begin()) &&
         std::equal(right.begin(), right.end(), whole.begin() + static_cast<long>(left.size()));
}

class Cutter {
 public:
  Cutter(const TaskRequest& request, std::string text) : request_(request), text_(std::move(text)) {
    whole_ = Tokenize(text_);
    int64_t end = 0;
    for (const int32_t token : whole_) {
      begins_.push_back(end);
      end += static_cast<int64_t>(request.tokenizer->Piece(token).size());
    }
    begins_.push_back(end);
    // A vocabulary may put a space in front of a text.
    const int64_t put_in_front = end - static_cast<int64_t>(text_.size());
    for (int64_t& begin : begins_) begin = std::max<int64_t>(0, begin - put_in_front);
  }

  // At most `context` and `scored` tokens: the longest for which the cuts hold. Nothing if none do.
  std::optional<Cut> At(size_t context, size_t scored) const {
    for (size_t at = std::min(context, whole_.size() - 1); at > 0; --at) {
      if (auto cut = CutAt(at, scored)) return cut;
    }
    return std::nullopt;
  }

 private:
  Tokens Tokenize(std::string_view text) const {
    auto tokens = request_.tokenizer->Tokenize(text, false, false);
    return tokens ? std::move(*tokens) : Tokens{};  // a cut inside a character: no good cut
  }

  // A word's space goes with the word, or with neither where the vocabulary adds it by itself.
  std::optional<Cut> CutAt(size_t at, size_t scored) const {
    const auto begin = static_cast<size_t>(begins_[at]);
    if (text_[begin] != ' ') return std::nullopt;
    const std::string context = text_.substr(0, begin);
    const Tokens left = Tokenize(context);
    if (left.size() != at) return std::nullopt;
    constexpr size_t kLongestWord = 64;  // tokens; a good end is at most so far away
    const size_t last = std::min(at + scored, whole_.size());
    for (size_t end = last; end > at && end + kLongestWord > last; --end) {
      for (const size_t skip : {0, 1}) {
        const size_t from = begin + skip;
        if (static_cast<size_t>(begins_[end]) <= from) continue;
        std::string continuation = text_.substr(from, static_cast<size_t>(begins_[end]) - from);
        const Tokens right = Tokenize(continuation);
        if (right.size() != end - at || !IsJoint(whole_, left, right)) continue;
        return Cut{context, std::move(continuation), left.size(), right.size()};
      }
    }
    return std::nullopt;
  }

  const TaskRequest& request_;
  std::string text_;
  Tokens whole_;
  std::vector<int64_t> begins_;  // [tokens + 1] bytes
};

struct Plan {
  std::string_view protocol;
  size_t context, scored;  // tokens
  size_t stride;           // from one window's beginning to the next
};

// Window `i` begins with the sentence that has token i * stride of the haystack.
Result<std::vector<Item>> MakeWindows(const TaskInfo& task, const TaskRequest& request,
                                      const Plan& plan) {
  PassageSource source(request);
  std::vector<Item> items;
  size_t sentence = 0, tokens_before = 0;
  for (uint64_t window = 0; window < request.samples; ++window) {
    while (tokens_before + source.SentenceTokens(sentence) <= window * plan.stride) {
      tokens_before += source.SentenceTokens(sentence++);
    }
    constexpr size_t kSpare = 64;  // so that text follows the last cut
    size_t end = sentence;
    for (size_t tokens = 0; tokens < plan.context + plan.scored + kSpare; ++end) {
      tokens += source.SentenceTokens(end);
    }
    const auto cut = Cutter(request, source.Text(sentence, end)).At(plan.context, plan.scored);
    if (!cut) {
      return Failure(
          "the text has no place where this tokenizer lets it be cut in two",
          fmt::format("{}, window {}, {}", task.name, window, request.haystack->source()),
          "Take another text.");
    }
    Item item = NewItem(task, request, window);
    item.context = cut->context;
    item.answers = {cut->continuation};
    item.chat_template = false;
    item.meta["protocol"] = plan.protocol;
    item.meta["window"] = window;
    item.meta["first_token"] = tokens_before;
    item.meta["context_tokens"] = cut->context_tokens;
    item.meta["scored_tokens"] = cut->scored_tokens;
    item.meta["haystack"] = request.haystack->source();
    items.push_back(std::move(item));
  }
  return items;
}

constexpr size_t kLeastContext = 32;

Result<std::vector<Item>> GenerateScore(const TaskInfo& task, const TaskRequest& request) {
  const size_t scored = request.settings.score_tokens;
  if (scored == 0)
    return InputError("no tokens to score", std::string(task.name), "Take 1 or more.");
  const size_t needed = scored + request.reserved + kLeastContext;
  if (request.length < needed) {
    return InputError(fmt::format("{} scored tokens leave no room for a context", scored),
                      fmt::format("{}, {} tokens", task.name, request.length),
                      fmt::format("Score fewer, or take a length of {} or more.", needed));
  }
  return MakeWindows(
      task, request,
      {"prefill-then-score", request.length - request.reserved - scored, scored, scored});
}

// llama.cpp's chunks of `length` tokens: the first is the model's BOS (if it has one), and the
// tokens after place length / 2 are scored, which are length / 2 - 1.
Result<std::vector<Item>> GenerateChunked(const TaskInfo& task, const TaskRequest& request) {
  if (request.length < 2 * kLeastContext + request.reserved) {
    return TooShort(task, request, 2 * kLeastContext + request.reserved);
  }
  const size_t chunk = request.length - request.reserved;
  return MakeWindows(task, request, {"chunked", chunk / 2, chunk - chunk / 2 - 1, chunk});
}

}  // namespace

std::span<const TaskInfo> PplTasks() {
  static const std::vector<TaskInfo> tasks = {
      {"ppl/score",
       "text after a long context, window by window",
       0,
       {"likelihood"},
       GenerateScore,
       {"--score-tokens"}},
      {"ppl/chunked",
       "the second half of every chunk, as llama.cpp's perplexity does it",
       0,
       {"likelihood"},
       GenerateChunked},
  };
  return tasks;
}

}  // namespace pith
