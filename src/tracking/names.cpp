#include "tracking/names.hpp"

#include <mizzen/core/id.hpp>

#include <array>
#include <filesystem>
#include <pwd.h>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

constexpr std::array<std::string_view, 32> adjectives = {
    "amber", "bold",  "brisk", "bright", "calm",  "clear",  "crisp",  "deft",
    "eager", "early", "fair",  "fleet",  "fond",  "fresh",  "gentle", "glad",
    "hardy", "keen",  "light", "lively", "lucid", "merry",  "neat",   "noble",
    "proud", "quick", "quiet", "rapid",  "sound", "steady", "swift",  "warm"};
constexpr std::array<std::string_view, 32> nouns = {
    "auk",     "bosun",    "bowline", "brig",   "capstan", "clipper", "cormorant", "cutter",
    "dolphin", "fulmar",   "gannet",  "gull",   "harbour", "heron",   "jib",       "keel",
    "lugger",  "marlin",   "mast",    "osprey", "otter",   "petrel",  "pilot",     "puffin",
    "rudder",  "schooner", "sextant", "sloop",  "spar",    "tern",    "tiller",    "yawl"};

}  // namespace

std::string random_run_name() {
  const std::string id = random_hex_id();
  const unsigned long bits = std::stoul(id.substr(0, 8), nullptr, 16);
  std::string name(adjectives[bits % adjectives.size()]);
  name.append("-").append(nouns[bits / 32 % nouns.size()]).append("-");
  return name.append(std::to_string(bits / 1024 % 1000));
}

std::string process_user() {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr && *found->pw_name != '\0') {
    return found->pw_name;
  }
  return std::to_string(geteuid());
}

std::string process_program() {
  std::error_code failed;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? std::string() : path.string();
}

}  // namespace mizzen::tracking::detail
