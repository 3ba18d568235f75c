#include "recipe/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pith {
namespace {

constexpr std::string_view kForms =
    "A budget is a number of entries (512), a share of the prompt (10%), a share of its bytes in "
    "f16 (10%f16) or a number of bytes (2GiB).";
constexpr size_t kMaxDigits = 18;  // what a uint64_t surely holds

// A decimal number, exactly: digits / 10^decimals.
struct Decimal {
  uint64_t digits = 0;
  uint64_t scale = 1;  // 10^decimals
};

tl::unexpected<Error> Bad(std::string what, std::string_view text, std::string_view hint = kForms) {
  constexpr size_t kShown = 40;
  return InputError(std::move(what), fmt::format("budget \"{}\"", text.substr(0, kShown)),
                    std::string(hint));
}

// Reads digits with at most one point from the front of `rest`; nothing if there are none or too
// many.
std::optional<Decimal> TakeDecimal(std::string_view* rest) {
  Decimal number;
  size_t num_digits = 0;
  bool after_point = false;
  size_t i = 0;
  for (; i < rest->size(); ++i) {
    const char c = (*rest)[i];
    if (c == '.' && !after_point && num_digits > 0) {
      after_point = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    if (++num_digits > kMaxDigits) return {};
    number.digits = number.digits * 10 + static_cast<uint64_t>(c - '0');
    if (after_point) number.scale *= 10;
  }
  if (num_digits == 0 || (*rest)[i - 1] == '.') return {};
  rest->remove_prefix(i);
  return number;
}

Result<Budget> ByteBudget(std::string_view text, const Decimal& number, int shift) {
  const unsigned __int128 bytes =
      (static_cast<unsigned __int128>(number.digits) << shift) / number.scale;
  if (bytes > std::numeric_limits<int64_t>::max()) return Bad("the budget is too large", text);
  if (bytes == 0) return Bad("a budget must be more than zero", text);
  return Budget{Budget::Kind::kBytes, static_cast<uint64_t>(bytes), 0, std::string(text)};
}

Budget ShareOfF16(std::string_view text, const Decimal& percent) {
  const uint64_t divisor = percent.scale * 100;  // at most 10^19
  const uint64_t common = std::gcd(percent.digits, divisor);
  return {Budget::Kind::kShareOfF16, percent.digits / common, 0, std::string(text),
          divisor / common};
}

}  // namespace

Result<Budget> ParseBudget(std::string_view text) {
  if (text.empty()) return Bad("the budget is empty", text);
  if (text[0] == '-') return Bad("a budget must be more than zero", text);
  std::string_view unit = text;
  const std::optional<Decimal> number = TakeDecimal(&unit);
  if (!number) return Bad("this is not a budget", text);
  if (unit == "KiB") return ByteBudget(text, *number, 10);
  if (unit == "MiB") return ByteBudget(text, *number, 20);
  if (unit == "GiB") return ByteBudget(text, *number, 30);
  if (number->digits == 0) return Bad("a budget must be more than zero", text);
  if (unit == "%f16") return ShareOfF16(text, *number);
  if (unit == "%") {
    const double share =
        static_cast<double>(number->digits) / static_cast<double>(number->scale) / 100.0;
    return Budget{Budget::Kind::kShare, 0, share, std::string(text)};
  }
  if (!unit.empty()) {
    return Bad("the unit of the budget is not known", text,
               "Use KiB, MiB or GiB for bytes, % for a share of the prompt and %f16 for a share "
               "of its bytes in f16.");
  }
  if (number->scale != 1) return Bad("a budget in entries is a whole number", text);
  return Budget{Budget::Kind::kEntries, number->digits, 0, std::to_string(number->digits)};
}

Status CheckBudget(const Plan& plan, const Budget& budget) {
  const std::string where = fmt::format("budget \"{}\"", budget.text);
  if (plan.admits()) {
    return InputError(fmt::format("admit={} takes no budget: its parameters say how many tokens "
                                  "each layer is computed for",
                                  plan.admit.part->name),
                      where, "Leave the budget out, or set these.");
  }
  if (plan.keeps_all()) {
    return InputError("the method \"full\" takes no budget: it keeps every entry", where,
                      "Leave the budget out, or choose a method that takes one (pith methods).");
  }
  if (!plan.takes_budget()) {
    return InputError(fmt::format("alloc={} takes no budget: it decides by itself how many entries "
                                  "each head keeps",
                                  plan.alloc.part->name),
                      where, "Leave the budget out, or set its own parameters.");
  }
  if (budget.kind == Budget::Kind::kEntries) return CheckProtected(plan, budget.amount, where);
  return {};
}

Status CheckProtected(const Plan& plan, uint64_t entries, const std::string& where) {
  const uint64_t needed = plan.num_protected(entries);
  if (needed <= entries) return {};
  return InputError(fmt::format("\"{}\" never drops {} entries of a head, and the budget has "
                                "room for {}",
                                plan.canonical, needed, entries),
                    where, "Give a larger budget, or let it protect less.");
}

Result<std::vector<PlannedRun>> PlanRuns(std::span<const Plan> plans,
                                         std::span<const Budget> budgets) {
  const auto takes_budget = [](const Plan& plan) { return plan.takes_budget(); };
  if (!plans.empty() && !budgets.empty() && std::ranges::none_of(plans, takes_budget)) {
    PITH_TRY(CheckBudget(plans[0], budgets[0]));
  }
  std::vector<PlannedRun> runs;
  for (const Plan& plan : plans) {
    if (!takes_budget(plan)) {
      runs.push_back({plan, std::nullopt});
      continue;
    }
    if (budgets.empty()) {
      return InputError(fmt::format("\"{}\" needs a budget", plan.canonical), "recipe",
                        std::string(kForms));
    }
    for (const Budget& budget : budgets) {
      PITH_TRY(CheckBudget(plan, budget));
      runs.push_back({plan, budget});
    }
  }
  return runs;
}

}  // namespace pith
