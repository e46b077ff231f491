// Random identifiers.
#pragma once

#include <string>

namespace mizzen {

// 128 random bits as 32 lower-case hexadecimal digits, the form of MLflow's run ids. From the
// kernel's generator, so unique across threads, forks and machines. Throws error(unavailable) if
// the kernel gives no randomness.
std::string random_hex_id();

// A random UUID (RFC 9562, version 4) in its usual form with dashes.
std::string random_uuid();

}  // namespace mizzen
