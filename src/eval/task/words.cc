#include "eval/task/words.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/check.h"
#include "eval/task/word_list.h"

namespace pith {
namespace {

constexpr char kAdjectives[] = R"(
amber ancient autumn bitter black bold brave bright broken bronze calm careless chilly clever cloudy coastal cold copper
coral cosmic crimson crooked crystal curious curly dapper daring dark deep distant double dreamy dusty early eager eastern
elegant empty fading faint fancy fearless fierce floral fluffy foggy fragile frosty frozen fuzzy gentle giant glossy
golden grand grumpy hasty hidden hollow honest humble icy idle indigo ivory jade jagged jolly keen lazy lively lofty lonely
loud lucky lunar magenta marble mellow merry mighty misty modern mossy mystic narrow nimble noble northern odd olive pale
patient plain playful polar polished proud purple quaint quick quiet rapid rare red restless rocky rough royal rustic sandy
scarlet secret serene shady sharp shy silent silken silver simple sleek sleepy slim small smooth snowy soft solar solid
sparkling steady still stormy sturdy sunny swift tall tender thirsty tidy tiny tranquil turquoise velvet vivid warm weary
western wild windy wise wooden young
)";

constexpr char kNouns[] = R"(
acorn almond anchor antelope anvil apple apricot arch armor arrow aspen aster avalanche badger balloon bamboo banner barrel
basil basin beacon beaver beetle bell birch bison blossom boat boulder bridge brook buffalo bugle bullet bundle butterfly
cabin cactus camel candle canoe canyon captain caravan cardinal carnival castle cathedral cedar cello chariot cherry
chestnut chimney cinder circle clarinet cliff cloud clover coast cobra coconut comet compass condor cottage coyote cradle
crane crater creek crown cypress dagger daisy dancer desert diamond dolphin dragon drum dune eagle elephant elm ember emerald
engine falcon feather fern ferry fiddle field flame flamingo flute forest forge fortress fountain fox frigate galaxy
galleon garden garnet gate gazelle geyser giraffe glacier goblet gondola granite grotto grove guitar harbor hawk hazel
heron hill hollyhock horizon hurricane iceberg iris island jackal jaguar jasmine jewel jungle juniper kestrel kettle kite
koala lagoon lake lantern lark laurel lava leaf lemon leopard lighthouse lilac lily lion lizard locket lotus lynx
magnet magnolia mammoth mango maple marigold market meadow medal meteor mill mirror monsoon moon moose moth mountain
mustang nebula nettle nutmeg oak oasis obelisk ocean onyx opal orbit orchard orchid osprey otter owl oyster palace panda
panther parrot path peacock pearl pebble pelican penguin pepper phoenix piano pilgrim pine planet plateau plum pond
poppy prairie prism puma pyramid quarry quartz quiver rabbit raccoon rainbow raven reef ridge river robin rocket rose
ruby saddle saffron sail salmon sapphire scepter seal shadow shell shield shore shrine sparrow sphinx spring stallion
star statue stone stork stream summit sunrise sunset swallow swan sycamore temple thistle throne thunder tiger timber
topaz torch tornado tower trail trident trout trumpet tulip tunnel turtle valley vampire vessel viking violet violin volcano
wagon walnut walrus water whale willow window wizard wolf zebra zenith zephyr
)";

constexpr char kVerbs[] = R"(
absorb accept achieve adapt adjust adopt advise afford amend announce appoint approve arrange arrive assemble assist
attend avoid balance behave believe belong borrow calculate cancel celebrate claim collapse compare compete complain
compose confirm connect consider consist construct consult contain convince create declare decorate defend define deliver
demand deny depend describe deserve detect develop differ discover divide elect embrace employ enable encounter endure
enhance enlarge ensure evaluate exceed exclude expand explain explore express extend fulfil generate govern hesitate
identify ignore imagine imply improve include increase indicate inform inhabit inherit inspire install intend interpret
introduce invent invest isolate justify launch maintain manage measure merge modify motivate negotiate neglect observe
obtain occupy operate oppose organize overcome participate perform permit persuade possess predict prefer preserve
prevent proceed promote propose protect prove publish pursue
)";

constexpr char kNames[] = R"(
Ada Adrian Agnes Alan Albert Alice Anna Anton Arthur Astrid Bella Ben Bianca Boris Bruno Carl Cecilia Clara Claude Cora
Daniel David Diana Dora Edgar Edith Elena Eliza Emil Emma Erik Eva Felix Fiona Flora Frank George Gloria Grace Gustav
Hanna Harold Hector Helen Henry Hugo Ida Igor Ingrid Irene Isaac Ivan Jack Jacob Jane Jonas Julia Karl Kate Laura Leo Linda
Louis Lucas Lydia Marcus Maria Mark Martha Martin Max Mira Nadia Nathan Nina Noah Nora Olga Otto Paul Petra Philip Quinn Ralph
Rita Robert Rosa Ruth Sam Sara Simon Sofia Stella Theo Thomas Tina Uma Ursula Vera Walter Wanda Xavier Yara Yves Zoe
)";

constexpr char kCities[] = R"(
Amsterdam Athens Bangkok Beirut Belgrade Bergen Berlin Bogota Boston Brussels Cairo Caracas Chicago Copenhagen Dakar Delhi
Denver Dublin Geneva Hamburg Hanoi Havana Helsinki Jakarta Lagos Lisbon London Lyon Madrid Manila Milan Minsk Mumbai Munich
Nairobi Naples Oslo Paris Prague Quito Riga Rome Seoul Sydney Tokyo Toronto Tunis Turin Vienna Warsaw Zagreb Zurich
)";

constexpr char kAlphabet[] = R"(
alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra tango
uniform victor whiskey xray yankee zulu
)";

constexpr std::string_view kConsonants = "bdfghjklmnprstvz", kVowels = "aeiou";
constexpr uint64_t kSyllables = kConsonants.size() * kVowels.size();
constexpr uint64_t kTwo = kSyllables * kSyllables, kThree = kTwo * kSyllables;
constexpr uint64_t kCandidates = kTwo + kThree + kThree * kSyllables;
constexpr uint32_t kPseudoWords = 40'000'000;  // the candidates after these stand in for real words

// Candidate words are numbered by length; a stride that is coprime to the count of a length (a
// power of 2 times a power of 5) visits each once, in an order in which neighbours look different.
std::string Candidate(uint64_t index) {
  constexpr uint64_t kStride = 2'654'435'761;
  uint64_t count = kTwo;
  int syllables = 2;
  while (index >= count) {
    index -= count;
    count *= kSyllables;
    ++syllables;
  }
  uint64_t number = index * kStride % count;
  std::string word;
  for (int i = 0; i < syllables; ++i, number /= kSyllables) {
    const uint64_t syllable = number % kSyllables;
    word += kConsonants[syllable / kVowels.size()];
    word += kVowels[syllable % kVowels.size()];
  }
  return word;
}

std::vector<std::string> RealWords() {
  std::vector<std::string> words;
  for (const auto list : {KeyAdjectives(), KeyNouns(), KeyVerbs(), PersonNames(), CityNames(),
                          SpellingAlphabet(), ProseWords()}) {
    for (const std::string_view word : list) words.push_back(LowerCase(word));
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

}  // namespace

std::vector<std::string_view> SplitWords(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t begin = text.find_first_not_of(" \n"); begin != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(" \n", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(" \n", end);
  }
  return words;
}

std::vector<std::string_view> SortedWords(std::string_view text) {
  std::vector<std::string_view> words = SplitWords(text);
  std::sort(words.begin(), words.end());
  return words;
}

std::string LowerCase(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::span<const std::string_view> KeyAdjectives() {
  static const std::vector<std::string_view> words = SortedWords(kAdjectives);
  return words;
}

std::span<const std::string_view> KeyNouns() {
  static const std::vector<std::string_view> words = SortedWords(kNouns);
  return words;
}

std::span<const std::string_view> KeyVerbs() {
  static const std::vector<std::string_view> words = SortedWords(kVerbs);
  return words;
}

std::span<const std::string_view> PersonNames() {
  static const std::vector<std::string_view> words = SortedWords(kNames);
  return words;
}

std::span<const std::string_view> CityNames() {
  static const std::vector<std::string_view> words = SortedWords(kCities);
  return words;
}

std::span<const std::string_view> SpellingAlphabet() {
  static const std::vector<std::string_view> words = SortedWords(kAlphabet);
  return words;
}

std::string PseudoWord(uint32_t index) {
  PITH_CHECK(index < kPseudoWords);
  static const std::vector<std::string> real = RealWords();
  std::string word = Candidate(index);
  const auto found = std::lower_bound(real.begin(), real.end(), word);
  if (found == real.end() || *found != word) return word;
  return Candidate(kCandidates - 1 - static_cast<uint64_t>(found - real.begin()));
}

}  // namespace pith
