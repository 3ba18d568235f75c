#include "recipe/budget.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace pith {
namespace {

std::string ErrorOf(const auto& result) {
  if (result.has_value()) return "no error";
  EXPECT_EQ(result.error().kind, ErrorKind::kInput);
  return result.error().Message();
}

TEST(Budget, Entries_AreWholeNumbers) {
  const Budget budget = ParseBudget("512").value();
  EXPECT_EQ(budget.kind, Budget::Kind::kEntries);
  EXPECT_EQ(budget.amount, 512u);
  EXPECT_EQ(ParseBudget("0512").value().text, "512");
}

TEST(Budget, Share_OfThePrompt) {
  const Budget budget = ParseBudget("10%").value();
  EXPECT_EQ(budget.kind, Budget::Kind::kShare);
  EXPECT_DOUBLE_EQ(budget.share, 0.1);
  EXPECT_EQ(budget.text, "10%");
  EXPECT_DOUBLE_EQ(ParseBudget("12.5%").value().share, 0.125);
  EXPECT_DOUBLE_EQ(ParseBudget("150%").value().share, 1.5);  // keeps everything, no error
}

TEST(Budget, ShareOfF16_IsAnExactFraction) {
  const std::vector<std::tuple<std::string, uint64_t, uint64_t>> cases = {
      {"10%f16", 1, 10},
      {"12.50%f16", 1, 8},
      {"33.3%f16", 333, 1000},
      {"200%f16", 2, 1},
      {"0.00000000000000001%f16", 1, 10000000000000000000u},
  };
  for (const auto& [text, amount, divisor] : cases) {
    const Budget budget = ParseBudget(text).value();
    EXPECT_EQ(budget.kind, Budget::Kind::kShareOfF16) << text;
    EXPECT_EQ(budget.amount, amount) << text;
    EXPECT_EQ(budget.divisor, divisor) << text;
    EXPECT_EQ(budget.text, text);
    EXPECT_TRUE(IsShare(budget));
  }
  EXPECT_TRUE(CheckBudget(ParseRecipe("snapkv").value(), ParseBudget("1%f16").value()));
  EXPECT_FALSE(CheckBudget(ParseRecipe("full").value(), ParseBudget("1%f16").value()));
  EXPECT_FALSE(CheckBudget(ParseRecipe("lazyllm").value(), ParseBudget("64").value()));
}

TEST(Budget, Bytes_AreExact) {
  const std::vector<std::pair<std::string, uint64_t>> cases = {
      {"1KiB", 1024},        {"1MiB", 1048576},
      {"2GiB", 2147483648},  {"1.5GiB", 1610612736},
      {"0.1GiB", 107374182},  // 107374182.4, rounded down
      {"0.001KiB", 1},       {"8589934591GiB", 9223372035781033984u},
  };
  for (const auto& [text, bytes] : cases) {
    const auto budget = ParseBudget(text);
    ASSERT_TRUE(budget.has_value()) << text;
    EXPECT_EQ(budget->kind, Budget::Kind::kBytes);
    EXPECT_EQ(budget->amount, bytes) << text;
    EXPECT_EQ(budget->text, text);
  }
}

TEST(Budget, BadText_RefusedInOneSentence) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"",
       "the budget is empty (budget \"\"). A budget is a number of entries (512), a share of "
       "the prompt (10%), a share of its bytes in f16 (10%f16) or a number of bytes (2GiB)."},
      {"0", "a budget must be more than zero (budget \"0\")"},
      {"0%", "a budget must be more than zero"},
      {"0.0%", "a budget must be more than zero"},
      {"0GiB", "a budget must be more than zero"},
      {"0.0001KiB", "a budget must be more than zero"},
      {"-5", "a budget must be more than zero (budget \"-5\")"},
      {"-5%", "a budget must be more than zero"},
      {"512.5", "a budget in entries is a whole number"},
      {"2GB", "the unit of the budget is not known (budget \"2GB\"). Use KiB, MiB or GiB"},
      {"2 GiB", "the unit of the budget is not known"},
      {"10%%", "the unit of the budget is not known"},
      {"10%f32", "the unit of the budget is not known"},
      {"10%F16", "the unit of the budget is not known"},
      {"10f16", "the unit of the budget is not known"},
      {"0%f16", "a budget must be more than zero"},
      {"many", "this is not a budget"},
      {"1.", "this is not a budget"},
      {".5%", "this is not a budget"},
      {"1.2.3%", "the unit of the budget is not known"},
      {"nan", "this is not a budget"},
      {"+5", "this is not a budget"},
      {"8589934592GiB", "the budget is too large"},
      {"9999999999999999999", "this is not a budget"},
  };
  for (const auto& [text, message] : cases) {
    const std::string error = ErrorOf(ParseBudget(text));
    EXPECT_NE(error.find(message), std::string::npos) << text << ": " << error;
  }
}

TEST(Budget, RandomText_NeverCrashes) {
  Rng rng(5);
  const std::string alphabet = "0123456789.%-+KMGiB ef\xFF";
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (uint32_t i = rng.Below(24); i > 0; --i) {
      text += alphabet[rng.Below(static_cast<uint32_t>(alphabet.size()))];
    }
    const auto budget = ParseBudget(text);
    if (budget) {
      EXPECT_TRUE(budget->amount > 0 || budget->share > 0) << text;
    }
  }
}

TEST(Budget, ForFull_RefusedWithTheReason) {
  const Plan full = ParseRecipe("full").value();
  const Budget budget = ParseBudget("10%").value();
  EXPECT_EQ(ErrorOf(CheckBudget(full, budget)),
            "the method \"full\" takes no budget: it keeps every entry (budget \"10%\"). Leave the "
            "budget out, or choose a method that takes one (pith methods).");
}

TEST(Budget, LessThanIsProtected_Refused) {
  const Plan plan = ParseRecipe("snapkv(window=16)").value();
  EXPECT_TRUE(CheckBudget(plan, ParseBudget("16").value()));
  EXPECT_EQ(
      ErrorOf(CheckBudget(plan, ParseBudget("15").value())),
      "\"snapkv(window=16)\" never drops 16 entries of a head, and the budget has room for 15 "
      "(budget \"15\"). Give a larger budget, or let it protect less.");
  // H2O's recent window is a share of the budget.
  EXPECT_TRUE(CheckBudget(ParseRecipe("h2o").value(), ParseBudget("1").value()));
}

TEST(PlannedRuns, CrossProduct_FullRunsOnce) {
  const Plan full = ParseRecipe("full").value();
  const Plan snapkv = ParseRecipe("snapkv").value();
  const std::vector<Budget> budgets = {ParseBudget("512").value(), ParseBudget("10%").value()};
  const std::vector<Plan> plans = {full, snapkv};
  const auto runs = PlanRuns(plans, budgets).value();
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_FALSE(runs[0].budget.has_value());
  EXPECT_EQ(runs[1].plan.canonical, "snapkv");
  EXPECT_EQ(runs[1].budget->text, "512");
  EXPECT_EQ(runs[2].budget->text, "10%");
  EXPECT_NE(ErrorOf(PlanRuns(plans, {})).find("\"snapkv\" needs a budget"), std::string::npos);
  const std::vector<Plan> only_full = {full};
  EXPECT_NE(ErrorOf(PlanRuns(only_full, budgets)).find("takes no budget"), std::string::npos);
}

}  // namespace
}  // namespace pith
