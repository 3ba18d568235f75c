// Question answering that needs no data: sheets of made-up facts, half about people and half about
// the houses they keep. One-fact questions ask for what one sheet says; two-fact questions lead
// from a house over its keeper to the keeper's sheet.
#include <fmt/format.h>

#include <array>
#include <set>

#include "eval/task/ruler.h"
#include "eval/task/words.h"

namespace pith {
namespace {

constexpr std::array<std::string_view, 24> kTrades = {
    "baker",  "barber",  "builder", "butcher", "carpenter", "chemist", "cook",   "dentist",
    "doctor", "driver",  "farmer",  "fisher",  "gardener",  "judge",   "lawyer", "miner",
    "nurse",  "painter", "plumber", "surgeon", "tailor",    "teacher", "weaver", "writer"};
constexpr std::array<std::string_view, 8> kHouses = {"bakery",  "clinic", "gallery", "hotel",
                                                     "library", "museum", "school",  "theater"};
// Houses and people of the largest set; names stay easy to draw without repetition.
constexpr uint32_t kPairs = 5000;

std::string_view Pick(std::span<const std::string_view> words, Rng& rng) {
  return words[rng.Below(static_cast<uint32_t>(words.size()))];
}

std::string Capitalized(std::string_view word) {
  std::string text(word);
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

struct Person {
  std::string name;
  std::string_view trade, birthplace, home;
  uint32_t born;
};

struct House {
  std::string name;
  std::string_view kind, city;
  uint32_t founded;
};

Person DrawPerson(std::set<std::string>& taken, Rng& rng) {
  Person person;
  do {
    const std::string_view first = Pick(PersonNames(), rng);
    person.name = fmt::format("{} {}", first, Pick(PersonNames(), rng));
  } while (!taken.insert(person.name).second);
  person.trade = Pick(kTrades, rng);
  person.birthplace = Pick(CityNames(), rng);
  do {
    person.home = Pick(CityNames(), rng);
  } while (person.home == person.birthplace);
  person.born = 1900 + rng.Below(90);
  return person;
}

House DrawHouse(std::set<std::string>& taken, Rng& rng) {
  House house;
  do {
    const std::string adjective = Capitalized(Pick(KeyAdjectives(), rng));
    house.name = fmt::format("{} {}", adjective, Capitalized(Pick(KeyNouns(), rng)));
  } while (!taken.insert(house.name).second);
  house.kind = Pick(kHouses, rng);
  house.city = Pick(CityNames(), rng);
  house.founded = 1700 + rng.Below(200);
  return house;
}

std::string Sheet(const Person& person) {
  return fmt::format(
      "{0}\n{0} was born in {1} in the year {2}. {0} lives in {3} now. The trade of {0} is that of "
      "a {4}.",
      person.name, person.birthplace, person.born, person.home, person.trade);
}

std::string Sheet(const House& house, const Person& keeper) {
  return fmt::format(
      "The {0}\nThe {0} is a {1} in {2}. It was founded in the year {3}. The keeper of the {0} is "
      "{4}.",
      house.name, house.kind, house.city, house.founded, keeper.name);
}

struct Asked {
  std::string question, answer;
};

Asked AskOne(const Person& person, const House& house, bool of_house, Rng& rng) {
  if (of_house) {
    if (rng.Below(2) == 0) {
      return {fmt::format("In which year was the {} founded?", house.name),
              std::to_string(house.founded)};
    }
    return {fmt::format("In which city is the {}?", house.name), std::string(house.city)};
  }
  switch (rng.Below(4)) {
    case 0:
      return {fmt::format("In which city was {} born?", person.name),
              std::string(person.birthplace)};
    case 1:
      return {fmt::format("In which city does {} live now?", person.name),
              std::string(person.home)};
    case 2:
      return {fmt::format("What is the trade of {}?", person.name), std::string(person.trade)};
    default:
      return {fmt::format("In which year was {} born?", person.name), std::to_string(person.born)};
  }
}

Asked AskTwo(const Person& person, const House& house, Rng& rng) {
  switch (rng.Below(3)) {
    case 0:
      return {fmt::format("In which city does the keeper of the {} live now?", house.name),
              std::string(person.home)};
    case 1:
      return {fmt::format("What is the trade of the keeper of the {}?", house.name),
              std::string(person.trade)};
    default:
      return {fmt::format("In which year was the keeper of the {} born?", house.name),
              std::to_string(person.born)};
  }
}

// The question is about the first pair of sheets; the needle is whichever needed one comes first.
RulerDraft DrawSample(bool two_facts, uint32_t size, Rng& rng) {
  std::set<std::string> taken;
  std::vector<std::string> sheets;
  Asked asked;
  std::vector<std::string> needed;
  for (uint32_t i = 0; i < size; i += 2) {
    const Person person = DrawPerson(taken, rng);
    const House house = DrawHouse(taken, rng);
    sheets.push_back(Sheet(person));
    if (i + 1 < size) sheets.push_back(Sheet(house, person));
    if (i != 0) continue;
    const bool of_house = rng.Below(2) == 0;
    asked = two_facts ? AskTwo(person, house, rng) : AskOne(person, house, of_house, rng);
    needed = {two_facts || !of_house ? Sheet(person) : Sheet(house, person)};
    if (two_facts) needed.push_back(Sheet(house, person));
  }
  rng.Shuffle(std::span(sheets));
  RulerDraft draft = QaDraft(sheets, asked.question, {asked.answer});
  for (const std::string& sheet : needed) {
    draft.needle = std::min(draft.needle, draft.item.context.find(sheet));
  }
  draft.answer = draft.item.context.find(asked.answer, draft.item.context.find(needed[0]));
  draft.item.meta["haystack"] = "facts";
  return draft;
}

}  // namespace

Result<RulerFamily> QaFactsFamily(const TaskInfo& task, const TaskRequest&) {
  const bool two_facts = task.name == "ruler/qa_syn_2hop";
  RulerFamily family;
  family.minimum = 2;
  family.increment = 10;
  family.limit = 2 * kPairs;
  family.draw = [two_facts](uint64_t, Rng& rng, uint32_t size) {
    return DrawSample(two_facts, size, rng);
  };
  return family;
}

}  // namespace pith
