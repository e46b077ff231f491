// The log and the drain of a client.
#pragma once

#include "tracking/backend.hpp"
#include "tracking/drain.hpp"

#include <memory>

namespace mizzen::tracking::detail {

// Looks for logs that dead processes left for this backend, and adopts them. Throws
// invalid_argument (client_options::writer).
std::shared_ptr<drain> open_writer(const std::shared_ptr<backend>& backend,
                                   const client_options& options);

// Waits, as long as client_options::busy_timeout says, for what was logged before to be in the
// store; reports it when that is not enough, since what is read then lacks it.
void settle(drain& writer, const backend& backend);

}  // namespace mizzen::tracking::detail
