// Made-up run names.
#pragma once

#include <string>

namespace mizzen::tracking::detail {

// "brisk-heron-417": easy to say, and unlikely to be met twice in one experiment.
std::string random_run_name();

// The name of the process's user, or its number where it has none.
std::string process_user();

// The program's path (/proc/self/exe), or empty.
std::string process_program();

}  // namespace mizzen::tracking::detail
