#include "eval/task/reason_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/check.h"

namespace pith {
namespace {

constexpr std::array<std::string_view, 4> kPeople = {"Daniel", "John", "Mary", "Sandra"};
constexpr std::array<std::string_view, 6> kPlaces = {"bathroom", "bedroom", "garden",
                                                     "hallway",  "kitchen", "office"};
constexpr std::array<std::string_view, 3> kThings = {"apple", "football", "milk"};

constexpr std::array<std::string_view, 4> kMove = {"went to", "moved to", "walked to",
                                                   "travelled to"};
constexpr std::array<std::string_view, 3> kTake = {"took", "picked up", "grabbed"};
constexpr std::array<std::string_view, 3> kDrop = {"dropped", "put down", "left"};

struct Person {
  std::optional<uint32_t> place;
};

struct Thing {
  std::optional<uint32_t> holder;
  std::vector<uint32_t> places;  // where it has been since it was first taken, in order
};

class World {
 public:
  explicit World(Rng& rng) : rng_(rng) {}

  // One event: half are moves; the others hands that take or drop, where there is one to be had.
  void Step(bool with_things) {
    if (with_things && rng_.Below(2) == 0 && Handle()) return;
    Move();
  }

  const std::vector<std::string>& facts() const { return facts_; }
  const Person& person(uint32_t i) const { return people_[i]; }
  const Thing& thing(uint32_t i) const { return things_[i]; }
  // Whoever has it, somewhere else than it was taken.
  bool WasCarried(uint32_t thing) const { return things_[thing].places.size() > 1; }

 private:
  template <class Words>
  std::string_view Draw(const Words& words) {
    return words[rng_.Below(static_cast<uint32_t>(words.size()))];
  }

  void Move() {
    const uint32_t who = rng_.Below(kPeople.size());
    Person& person = people_[who];
    uint32_t place = rng_.Below(kPlaces.size());
    while (place == person.place) place = rng_.Below(kPlaces.size());
    person.place = place;
    for (Thing& thing : things_) {
      if (thing.holder == who) thing.places.push_back(place);
    }
    facts_.push_back(fmt::format("{} {} the {}.", kPeople[who], Draw(kMove), kPlaces[place]));
  }

  // A thing that nobody has seen yet may be anywhere, so also where the person is.
  bool CanTake(const Person& person, const Thing& thing) const {
    return person.place && !thing.holder &&
           (thing.places.empty() || thing.places.back() == *person.place);
  }

  bool Handle() {
    const uint32_t who = rng_.Below(kPeople.size());
    Thing& thing = things_[what_ = rng_.Below(kThings.size())];
    const Person& person = people_[who];
    if (thing.holder == who) {
      thing.holder.reset();
      facts_.push_back(fmt::format("{} {} the {}.", kPeople[who], Draw(kDrop), kThings[what_]));
      return true;
    }
    if (!CanTake(person, thing)) return false;
    thing.holder = who;
    if (thing.places.empty()) thing.places.push_back(*person.place);
    facts_.push_back(fmt::format("{} {} the {}.", kPeople[who], Draw(kTake), kThings[what_]));
    return true;
  }

  Rng& rng_;
  std::array<Person, kPeople.size()> people_;
  std::array<Thing, kThings.size()> things_;
  std::vector<std::string> facts_;
  uint32_t what_ = 0;
};

Story AskPerson(Rng& rng, const World& world) {
  uint32_t who = rng.Below(kPeople.size());
  while (!world.person(who).place) who = rng.Below(kPeople.size());
  return {world.facts(), fmt::format("Where is {} now?", kPeople[who]),
          fmt::format("{} is in the", kPeople[who]),
          std::string(kPlaces[*world.person(who).place])};
}

Story AskThing(const World& world, uint32_t what) {
  return {world.facts(), fmt::format("Where is the {} now?", kThings[what]),
          fmt::format("The {} is in the", kThings[what]),
          std::string(kPlaces[world.thing(what).places.back()])};
}

// The places of the thing that it came to once only, and from somewhere.
std::vector<size_t> ClearPlaces(const std::vector<uint32_t>& places) {
  std::vector<size_t> clear;
  for (size_t i = 1; i < places.size(); ++i) {
    if (std::count(places.begin(), places.end(), places[i]) == 1) clear.push_back(i);
  }
  return clear;
}

Story AskBefore(Rng& rng, const World& world, uint32_t what) {
  const std::vector<uint32_t>& places = world.thing(what).places;
  const std::vector<size_t> clear = ClearPlaces(places);
  const size_t at = clear[rng.Below(static_cast<uint32_t>(clear.size()))];
  const std::string_view thing = kThings[what], place = kPlaces[places[at]];
  return {world.facts(),
          fmt::format("Where was the {} just before it came to the {}?", thing, place),
          fmt::format("Before it came to the {}, the {} was in the", place, thing),
          std::string(kPlaces[places[at - 1]])};
}

}  // namespace

std::span<const std::string_view> WorldPeople() { return kPeople; }
std::span<const std::string_view> WorldPlaces() { return kPlaces; }
std::span<const std::string_view> WorldThings() { return kThings; }

Story MakeStory(Rng& rng, int hops) {
  PITH_CHECK(hops >= 1 && hops <= 3);
  const uint32_t events = hops == 1 ? 2 + rng.Below(7) : 6 + rng.Below(7);
  const uint32_t what = rng.Below(kThings.size());
  for (;;) {  // until the story tells what is asked
    World world(rng);
    for (uint32_t i = 0; i < events; ++i) world.Step(hops > 1);
    if (hops == 1) return AskPerson(rng, world);
    if (hops == 2 && world.WasCarried(what)) return AskThing(world, what);
    if (hops == 3 && !ClearPlaces(world.thing(what).places).empty()) {
      return AskBefore(rng, world, what);
    }
  }
}

}  // namespace pith
