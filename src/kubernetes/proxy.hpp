// Proxies as configuration names them.
#pragma once

#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

// The URL of a proxy, with its scheme; throws error(invalid_argument) with the subject for what is
// none.
std::string checked_proxy(std::string_view proxy, std::string_view subject);

}  // namespace mizzen::kubernetes::detail
