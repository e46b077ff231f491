// What candidates for leadership wrote down while they led: see election_candidate.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::test {

// One candidate's leadership without interruption, in nanoseconds of the machine's steady clock.
struct term {
  std::string who;
  int number = 0;
  // It led for certain from the one to the other.
  std::int64_t first = 0, last = 0;
  // When it asked for the last time and was told that it leads.
  std::int64_t last_asked = 0;
  bool lost = false;  // it has noticed that it leads no more

  friend bool operator==(const term&, const term&) = default;
};

// In the order in which they began.
inline std::vector<term> read_terms(std::istream& from) {
  std::map<std::pair<std::string, int>, term> found;
  for (std::string line; std::getline(from, line);) {
    if (from.eof()) break;  // still being written
    std::istringstream words(line);
    std::string who, before, after;
    int number = 0;
    words >> who >> number >> before >> after;
    term& of = found.try_emplace({who, number}, term{who, number}).first->second;
    if (before == "lost") {
      of.lost = true;
      continue;
    }
    if (of.first == 0) of.first = std::stoll(after);
    of.last_asked = std::stoll(before);
    of.last = std::max(of.first, of.last_asked);
  }
  std::vector<term> terms;
  for (auto& [key, each] : found) {
    if (each.first != 0) terms.push_back(std::move(each));
  }
  std::sort(terms.begin(), terms.end(),
            [](const term& a, const term& b) { return a.first < b.first; });
  return terms;
}

// What was wrong: two that led at once.
inline std::vector<std::string> overlaps(const std::vector<term>& terms) {
  std::vector<std::string> wrong;
  for (std::size_t i = 1; i < terms.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (terms[j].last < terms[i].first) continue;
      wrong.push_back(terms[i].who + " led while " + terms[j].who + " did, " +
                      std::to_string((terms[j].last - terms[i].first) / 1'000'000) + " ms");
    }
  }
  return wrong;
}

}  // namespace mizzen::test
