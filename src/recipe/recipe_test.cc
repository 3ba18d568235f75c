#include "recipe/recipe.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/rng.h"
#include "codec/kivi.h"
#include "recipe/parameters.h"
#include "recipe/syntax.h"

namespace pith {
namespace {

std::string ErrorOf(const auto& result) {
  if (result.has_value()) return "no error";
  EXPECT_EQ(result.error().kind, ErrorKind::kInput);
  return result.error().Message();
}

TEST(Recipe, EveryWayOfWriting_HasOneCanonicalText) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"full", "full"},
      {"f16", "full"},
      {"store=f16", "full"},
      {"select=full", "full"},
      {"full()", "full"},
      {"mixed", "full"},
      {"mixed(v=f16,k=f16)", "full"},
      {"f32", "full + store=f32"},
      {"store=f32+full", "full + store=f32"},
      {" bf16 + select = full ", "full + store=bf16"},
      {"mixed(k=f32,v=f32)", "full + store=f32"},
      {"store=mixed(k=f32,v=f16)", "full + store=mixed(k=f32)"},
      {"store=mixed( v = bf16 )", "full + store=mixed(v=bf16)"},
      {"snapkv", "snapkv"},
      {"score=snapkv", "snapkv"},
      {"score=snapkv + alloc=uniform + select=top + when=prompt", "snapkv"},
      {"score=snapkv(window=32,kernel=7)", "snapkv"},
      {"snapkv(kernel=5,window=64)", "snapkv(window=64,kernel=5)"},
      {"snapkv + alloc=ada", "adakv(first=pool)"},
      {"score=kvzip + alloc=global", "kvzip"},
      {"score=fastgen + when=decode + alloc=fastgen", "fastgen"},
      {"adakv(floor=20%)", "adakv"},
      {"adakv(window=16,floor=0.5)", "adakv(window=16,floor=0.5)"},
      {"score=snapkv(window=8) + alloc=pyramid(beta=10)", "pyramidkv(beta=10)"},
      {"snapkv+alloc=pyramid", "pyramidkv(window=32)"},
      {"streaming", "streaming"},
      {"score=streaming(sinks=8)", "score=streaming(sinks=8)"},
      {"when=decode(every=16) + score=streaming", "streaming(every=16)"},
      {"score=tova + select=layer + when=decode + f32", "tova + store=f32"},
      {"alloc=ada + score=keydiff(recent=32) + when=chunks",
       "score=keydiff(recent=32) + alloc=ada + when=chunks"},
      {"admit=lazyllm + f32", "lazyllm + store=f32"},
      {"lazyllm(times=2,prune=50%)", "lazyllm(prune=0.5,times=2)"},
      {"kivi4 + pyramidinfer(decay=0.8)", "pyramidinfer(decay=0.8) + store=kivi"},
      {"q4_0(rotate=none)", "full + store=q4_0"},
      {"q4_0(rotate=both,residual=64)", "full + store=q4_0(residual=64,rotate=both)"},
      {"q4_0(sinks=0)", "full + store=q4_0"},
      {"kivi(sinks=4)", "full + store=kivi(sinks=4)"},
      {"mixed(sinks=8,v=q8_0)", "full + store=mixed(v=q8_0,sinks=8)"},
      {"kivi2(rotate=values)", "full + store=kivi(bits=2,rotate=values)"},
      {"snapkv + mixed(rotate=keys,k=q4_0)", "snapkv + store=mixed(k=q4_0,rotate=keys)"},
      {"quest", "full + read=quest"},
      {"read=all + full", "full"},
      {"quest(budget=64,page=32) + snapkv", "snapkv + read=quest(budget=64,page=32)"},
      {"ds(part=8)+kivi4", "full + store=kivi + read=ds(part=8)"},
      {"twilight(p=0.95,base=quest,share=0.25)", "full + read=twilight"},
      {"h2o + twilight(p=85%,base=all)", "h2o + read=twilight(p=0.85,base=all)"},
      {"less", "less"},
      {"h2o + fold=less", "less"},
      {"fold=less + h2o(recent=0.25,norm=age)", "less(recent=0.25,norm=age)"},
      {"kivi4 + fold=less + snapkv(window=64)", "snapkv(window=64) + fold=less + store=kivi"},
      {"think", "full + channels=think"},
      {"think(ratio=0.5,window=64,bias=mean) + snapkv",
       "snapkv + channels=think(ratio=0.5,window=64,bias=mean)"},
      {"kivi4 + minicache(t=0.5,by=similarity) + quest",
       "full + merge=minicache(t=0.5,by=similarity) + store=kivi + read=quest"},
      {"quest + kivi4 + channels=think(bias=none)",
       "full + channels=think + store=kivi + read=quest"},
      {"# a comment\nfull # keep all\n+\n\tstore=f32\n# end", "full + store=f32"},
  };
  for (const auto& [text, canonical] : cases) {
    const auto plan = ParseRecipe(text);
    ASSERT_TRUE(plan.has_value()) << text << ": " << plan.error().Message();
    EXPECT_EQ(plan->canonical, canonical) << text;
    const auto again = ParseRecipe(plan->canonical);
    ASSERT_TRUE(again.has_value()) << plan->canonical;
    EXPECT_EQ(again->canonical, canonical);
    EXPECT_EQ(again->select.part, plan->select.part);
    EXPECT_EQ(again->score.part, plan->score.part);
    EXPECT_EQ(again->storage, plan->storage);
    EXPECT_EQ(again->read_rule(), plan->read_rule());
  }
}

TEST(Recipe, Plan_NamesTheForms) {
  const Plan plan = ParseRecipe("mixed(k=f32,v=bf16)").value();
  EXPECT_TRUE(plan.keeps_all());
  EXPECT_EQ(plan.storage.key_tail->name, "f32");
  EXPECT_EQ(plan.storage.value_tail->name, "bf16");
  const Plan usual = ParseRecipe("full").value();
  EXPECT_EQ(usual.storage.key_tail->name, "f16");
  EXPECT_EQ(usual.storage.value_tail->name, "f16");
}

TEST(Recipe, SealedForms_HaveATailAndAResidual) {
  const auto storage_of = [](std::string_view text) { return ParseRecipe(text).value().storage; };
  const Form* f16 = FindForm(FormId::kF16);
  EXPECT_EQ(storage_of("q4_0(residual=0)"),
            (Storage{f16, f16, FindForm(FormId::kQ4_0), FindForm(FormId::kQ4_0), 0}));
  EXPECT_EQ(storage_of("kivi"), (Storage{f16, f16, FindKivi(4, 32), FindKivi(4, 32), 128}));
  EXPECT_EQ(storage_of("kivi(bits=8,values=2,group=64,residual=64)"),
            (Storage{f16, f16, FindKivi(8, 64), FindKivi(2, 64), 64}));
  EXPECT_EQ(storage_of("q4_0(rotate=values)"),
            (Storage{f16, f16, FindForm(FormId::kQ4_0), FindForm(FormId::kQ4_0), 32, false, true}));
  EXPECT_EQ(storage_of("kivi(rotate=both)"),
            (Storage{f16, f16, FindKivi(4, 32), FindKivi(4, 32), 128, true, true}));
  EXPECT_EQ(storage_of("mixed(k=q8_0,rotate=keys)"),
            (Storage{f16, f16, FindForm(FormId::kQ8_0), nullptr, 32, true, false}));
  EXPECT_EQ(storage_of("kivi(sinks=5)"),
            (Storage{f16, f16, FindKivi(4, 32), FindKivi(4, 32), 128, false, false, 5}));
  EXPECT_EQ(storage_of("mixed(k=kivi4,v=f32)"),
            (Storage{f16, FindForm(FormId::kF32), FindKivi(4, 32), nullptr, 32}));
  const Plan tuned = ParseRecipe("tuned(group=64)").value();
  EXPECT_EQ(tuned.storage,
            (Storage{.key_tail = f16, .value_tail = f16, .residual = 128, .tuned_group = 64}));
  EXPECT_EQ(tuned.canonical, "full + store=tuned(group=64)");
  EXPECT_EQ(tuned.needs().profile, kProfileBits);
  EXPECT_EQ(ParseRecipe("headkv + tuned").value().needs().profile,
            kProfileBits | kProfileRetrieval);
  EXPECT_EQ(ParseRecipe("kivi4").value().needs().profile, 0u);
  EXPECT_EQ(ParseRecipe("kivi4(residual=64)").value().canonical, "full + store=kivi(residual=64)");
  EXPECT_EQ(ParseRecipe("snapkv + kivi2").value().canonical, "snapkv + store=kivi(bits=2)");
}

TEST(Recipe, BadText_RefusedInOneSentenceWithThePosition) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "the recipe is empty (recipe, column 1). Write a preset, for instance \"full\"."},
      {"  # nothing", "the recipe is empty (recipe, column 12)"},
      {"full +", "a name is missing before the end (recipe, column 7)"},
      {"+ full", "a name is missing before \"+\" (recipe, column 1)"},
      {"full + + f16", "a name is missing before \"+\" (recipe, column 8)"},
      {"full f16", "two items of the recipe have no + between them (recipe, column 6)"},
      {"store=", "the name for store= is missing before the end (recipe, column 7)"},
      {"mixed(k=f32", "a bracket is not closed (recipe, column 6). Close it with )."},
      {"mixed(", "a bracket is not closed (recipe, column 6)"},
      {"mixed(k=", "a bracket is not closed (recipe, column 6)"},
      {"mixed(k=f32,", "a bracket is not closed (recipe, column 6)"},
      {"mixed(k=f32))", "a bracket is closed that was not opened (recipe, column 13)"},
      {"mixed(k)", "the parameter \"k\" has no value (recipe, column 8)"},
      {"mixed(k=)", "the value of \"k\" is missing before \")\" (recipe, column 9)"},
      {"mixed(k=f32,)", "a parameter is missing before \")\" (recipe, column 13)"},
      {"mixed(k=f32;v=f16)", "\";\" has no meaning between brackets (recipe, column 12)"},
      {"full !", "\"!\" has no meaning here (recipe, column 6)"},
      {"full \xC3\xA9", "the byte 0xc3 has no meaning here (recipe, column 6)"},
      {"full +\n  fll",
       "there is no preset \"fll\" (recipe, line 2, column 3). Did you mean "
       "\"full\"? There are: full, streaming,"},
      {"snapvk", "there is no preset \"snapvk\" (recipe, column 1). Did you mean \"snapkv\"?"},
      {"ada", "\"ada\" is a part, not a preset (recipe, column 1). Write alloc=ada."},
      {"snapkv + tova", "the stage \"score\" is set twice, by \"snapkv\" and by \"tova\""},
      {"full + score=knorm",
       "\"full\" keeps every entry, so that score=knorm has nothing to decide (recipe, column 14)"},
      {"snapkv + alloc=fastgen",
       "alloc=fastgen goes by what score=fastgen says of each entry, and the recipe has "
       "score=snapkv (recipe, column 16). Leave one of them out."},
      {"alloc=ada", "alloc=ada needs a score, and the recipe has none (recipe, column 7). Add one"},
      {"when=chunks + f32", "when=chunks needs a score"},
      {"adakv + select=layer",
       "alloc=ada gives the heads of a layer different numbers of entries, and select=layer gives "
       "them the same entries (recipe, column 16). Leave one of them out."},
      {"snapkv(kernel=6)",
       "the parameter \"kernel\" cannot be \"6\" (recipe, column 15). It must be "
       "an odd number."},
      {"pyramidkv(gamma=1)", "\"pyramidkv\" has no parameter \"gamma\" (recipe, column 11)"},
      {"f61", "Did you mean \"f32\"?"},
      {"Full", "Did you mean \"full\"?"},
      {"store", "\"store\" is a stage, not a preset (recipe, column 1). Write store=NAME."},
      {"stoer=f16",
       "there is no stage \"stoer\" (recipe, column 1). Did you mean \"store\"? "
       "There are: score, alloc, select, when, fold, admit, channels, merge, store, read."},
      {"store=full",
       "nothing named \"full\" can follow store= (recipe, column 7). There are: "
       "f32, f16, bf16, q8_0, q4_0, kivi, kivi4, kivi2, tuned, mixed."},
      {"select=f16",
       "nothing named \"f16\" can follow select= (recipe, column 8). There are: full, top, layer, "
       "chunks, critical."},
      {"f16 + f32",
       "the stage \"store\" is set twice, by \"f16\" and by \"f32\" (recipe, column 7). "
       "Leave one of them out."},
      {"quest + ds", "the stage \"read\" is set twice, by \"quest\" and by \"ds\""},
      {"twilight(p=0)", "the parameter \"p\" cannot be \"0\""},
      {"quest(page=20)",
       "the parameter \"page\" cannot be \"20\" (recipe, column 12). It must be one of 8, 16, 32, "
       "64, 128."},
      {"full + select=full", "the stage \"select\" is set twice"},
      {"full(n=3)", "\"full\" has no parameter \"n\" (recipe, column 6). It takes no parameters."},
      {"mixed(q=f16)", "\"mixed\" has no parameter \"q\" (recipe, column 7)"},
      {"mixed(k=f16,k=f32)", "the parameter \"k\" is given twice (recipe, column 13)"},
      {"mixed(k=7)",
       "the parameter \"k\" cannot be \"7\" (recipe, column 9). It must be one of "
       "f32, f16, bf16, q8_0, q4_0, kivi8, kivi4, kivi2."},
      {"kivi(group=64,residual=32)",
       "\"kivi\": residual must be a multiple of group (recipe, column 1)"},
      {"tuned(group=64,residual=96)",
       "\"tuned\": residual must be a multiple of group (recipe, column 1)"},
      {"streaming(positions=cache) + tuned",
       "keys that are stored in tuned cannot be changed any more"},
      {"mixed(k=q4_0,rotate=both)", "\"mixed\": rotate is for a form of 8 bits or fewer"},
      {"q4_0(rotate=on)",
       "the parameter \"rotate\" cannot be \"on\" (recipe, column 13). It must be one of none, "
       "keys, values, both."},
      {"q4_0(sinks=129)", "the parameter \"sinks\" cannot be \"129\""},
      {"streaming(positions=cache) + mixed(v=q4_0,sinks=4)",
       "\"streaming\" moves the first tokens, by whose positions \"mixed\" finds its sinks"},
      {"mixed(v=kivi2,residual=7)", "\"mixed\": residual must be a multiple of 32"},
      {"snapkv + lazyllm",
       "admit=lazyllm drops tokens while the prompt is read, so that the layers hold different "
       "ones, and score=snapkv chooses among all of them at its end (recipe, column 10)"},
      {"full + pyramidinfer", "\"full\" keeps every entry, so that admit=pyramidinfer has nothing"},
      {"lazyllm + select=layer", "select=layer needs a score, and the recipe has none"},
      {"lazyllm + admit=pyramidinfer", "the stage \"admit\" is set twice"},
      {"lazyllm + kivi4",
       "admit=lazyllm puts late tokens between earlier ones, and entries that are stored in kivi4 "
       "are behind each other for good (recipe, column 11). Store them in f16"},
      {"lazyllm + quest",
       "admit=lazyllm chooses at every step which tokens a layer sees, so that read=quest has "
       "nothing to decide (recipe, column 11). Leave one of them out"},
      {"fold=less", "fold=less needs a score, and the recipe has none (recipe, column 6)"},
      {"full + fold=less", "\"full\" keeps every entry, so that fold=less has nothing to decide"},
      {"less + quest",
       "read=quest chooses among stored entries by what they would weigh, and those that fold=less "
       "stands for cannot be chosen"},
      {"snapkv + think + fold=less",
       "channels=think leaves parts of the keys, of which fold=less could not make features when "
       "they are dropped later"},
      {"razor + fold=less",
       "fold=less and alloc=razor would both stand for the same dropped entries"},
      {"pyramidinfer + think",
       "channels=think chooses channels when all layers have read the prompt, and "
       "admit=pyramidinfer takes it through them one by one (recipe, column 1)"},
      {"snapkv + when=chunks + think",
       "channels=think chooses channels by the end of a prompt, and when=chunks compresses it "
       "before (recipe, column 15). Use when=prompt"},
      {"streaming(positions=cache) + think",
       "\"streaming\" turns keys to other positions, and those that have lost channels by "
       "channels=think cannot be changed"},
      {"think + q4_0(rotate=both)",
       "\"q4_0\" spreads every channel of a key over all of them, and channels=think drops some "
       "(recipe, column 9). Rotate the values only"},
      {"think(ratio=1)", "the parameter \"ratio\" cannot be \"1\""},
      {"think + channels=think", "the stage \"channels\" is set twice"},
      {"minicache + snapkv",
       "layers that merge=minicache merges hold the same entries, and score=snapkv leaves each "
       "layer others (recipe, column 13). Leave one of them out"},
      {"pyramidinfer + minicache", "and admit=pyramidinfer leaves each layer others"},
      {"minicache + think",
       "layers that merge=minicache merges share whole directions, and channels=think leaves each "
       "layer other channels (recipe, column 13). Leave one of them out"},
      {"minicache + kivi4(rotate=keys)", "merge=minicache does not go with the rotation of store="},
      {"minicache + q4_0(sinks=4)",
       "merge=minicache does not go with the sinks (it keeps its own)"},
      {"minicache + tuned",
       "merge=minicache does not go with forms that differ from layer to layer"},
      {"minicache + merge=minicache", "the stage \"merge\" is set twice"},
      {"@", "the name of the recipe file is missing"},
      {"@/nowhere/at/all", "the file cannot be opened"},
  };
  for (const auto& [text, message] : cases) {
    const std::string error = ErrorOf(ParseRecipe(text));
    EXPECT_NE(error.find(message), std::string::npos) << text << ": " << error;
  }
}

TEST(Recipe, File_SameTextWithLinesAndComments) {
  const std::string path =
      fmt::format("{}/recipe-{}.txt", std::filesystem::temp_directory_path().string(), ::getpid());
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  write("# our usual one\nfull   # keep everything\n  + store=mixed(k=f32,\n      v=f16)\n");
  const auto plan = ParseRecipe("@" + path);
  ASSERT_TRUE(plan.has_value()) << plan.error().Message();
  EXPECT_EQ(plan->canonical, "full + store=mixed(k=f32)");
  write("full\n+ f17");
  EXPECT_NE(ErrorOf(ParseRecipe("@" + path)).find(path + ", line 2, column 3"), std::string::npos);
  write("@another");
  EXPECT_NE(ErrorOf(ParseRecipe("@" + path)).find("cannot name another one"), std::string::npos);
  std::remove(path.c_str());
}

TEST(Recipe, RandomText_NeverCrashes) {
  const std::string pieces[] = {
      "full", "f16",    "store", "=",    "+",     "(",     ")",   ",",    "mixed",  "k",    "v",
      "f32",  "\n",     "#",     "\0",   "\xFF",  " ",     "%",   "@",    "9",      "-",    ".",
      "\t",   "select", "score", "tova", "knorm", "alloc", "ada", "when", "chunks", "sinks"};
  Rng rng(11);
  int accepted = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    const uint32_t length = rng.Below(9);
    for (uint32_t i = 0; i < length; ++i) {
      text += rng.Below(8) == 0 ? std::string(1, static_cast<char>(rng.Below(256)))
                                : pieces[rng.Below(std::size(pieces))];
    }
    if (text.find('@') != std::string::npos) continue;  // would read files
    const auto plan = ParseRecipe(text);
    if (!plan) {
      EXPECT_EQ(plan.error().kind, ErrorKind::kInput);
      continue;
    }
    ++accepted;
    EXPECT_EQ(ParseRecipe(plan->canonical).value().canonical, plan->canonical);
  }
  EXPECT_GT(accepted, 100);
}

TEST(Presets, EveryMethodAndForm_IsThereOnce) {
  std::set<std::string_view> names;
  for (const PresetInfo& preset : Presets()) {
    EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
    EXPECT_TRUE(ParseRecipe(preset.name).has_value()) << preset.name;
  }
  for (const char* name : {"full", "snapkv", "f32", "f16", "bf16", "q8_0", "q4_0", "mixed"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

// Parameters of every type, as methods will have them.
class Parameters : public testing::Test {
 protected:
  Result<std::vector<ParameterValue>> Check(const std::string& text) {
    text_ = text;
    source_ = {text_, {}};
    items_ = ParseItems(source_).value();
    return CheckParameters(source_, items_[0], kTable);
  }

  static constexpr std::string_view kWords[] = {"mean", "max"};
  static constexpr ParameterInfo kTable[] = {
      {.name = "window",
       .type = ParameterType::kInteger,
       .default_value = "32",
       .min = 1,
       .max = 512},
      {.name = "floor", .type = ParameterType::kNumber, .default_value = "0.2", .min = 0, .max = 1},
      {.name = "pool", .type = ParameterType::kWord, .default_value = "max", .words = kWords},
  };
  std::string text_;
  RecipeSource source_;
  std::vector<WrittenItem> items_;
};

TEST_F(Parameters, Written_OrTheDefaults) {
  const auto defaults = Check("m").value();
  EXPECT_EQ(defaults[0].number, 32);
  EXPECT_EQ(defaults[1].number, 0.2);
  EXPECT_EQ(defaults[2].word, "max");
  const auto written = Check("m(floor=35%,pool=mean,window=512)").value();
  EXPECT_EQ(written[0].number, 512);
  EXPECT_DOUBLE_EQ(written[1].number, 0.35);
  EXPECT_EQ(written[2].word, "mean");
}

TEST_F(Parameters, WrongTypeOrRange_RefusedWithWhatWouldWork) {
  for (const char* value : {"0", "513", "1.5", "x", "50%", "nan", "inf", "7x", "-3", "2GiB"}) {
    EXPECT_NE(
        ErrorOf(Check(fmt::format("m(window={})", value)))
            .find(fmt::format("the parameter \"window\" cannot be \"{}\" (recipe, column 10). "
                              "It must be a whole number from 1 to 512.",
                              value)),
        std::string::npos)
        << value;
  }
  for (const char* value : {"-0.1", "1.1", "150%", "%", "nan", "high"}) {
    EXPECT_NE(
        ErrorOf(Check(fmt::format("m(floor={})", value))).find("It must be a number from 0 to 1."),
        std::string::npos)
        << value;
  }
  EXPECT_NE(ErrorOf(Check("m(pool=avg)")).find("It must be one of mean, max."), std::string::npos);
  EXPECT_NE(ErrorOf(Check("m(windw=3)")).find("Did you mean \"window\"?"), std::string::npos);
}

}  // namespace
}  // namespace pith
