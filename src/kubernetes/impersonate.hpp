// Impersonation as headers.
#pragma once

#include <mizzen/http/message.hpp>
#include <mizzen/kubernetes/config.hpp>

namespace mizzen::kubernetes::detail {

// Adds Impersonate-User, -Uid, -Group and -Extra-<key> (percent-encoded where a header's name
// cannot hold it), unless the request impersonates on its own. Throws error(invalid_argument) for
// what no header can hold.
void add_impersonation(const impersonation& as, http::headers& headers);

}  // namespace mizzen::kubernetes::detail
