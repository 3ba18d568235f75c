// A small world in which people walk between places and carry things, told in short sentences, and
// a question about it (after bAbI's tasks 1 to 3, which BABILong hides in long texts).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace pith {

std::span<const std::string_view> WorldPeople();
std::span<const std::string_view> WorldPlaces();  // the answers there are
std::span<const std::string_view> WorldThings();

struct Story {
  std::vector<std::string> facts;  // sentences, in the order of what happens
  std::string question;
  std::string answer_prefix;  // the beginning of a sentence that the answer ends
  std::string answer;         // a place
};

// `hops` 1: where is a person, in 2 to 8 facts; 2: where is a thing; 3: where was a thing before it
// came to a place, both in 6 to 12 facts.
Story MakeStory(Rng& rng, int hops);

}  // namespace pith
