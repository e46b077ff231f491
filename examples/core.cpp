// What every module of Mizzen shares: errors that say what to mend, cancellation, deadlines and
// structured logging without a global logger.
#include <mizzen/core.hpp>

#include <chrono>
#include <iostream>

namespace mz = mizzen;

int main() {
  using namespace std::chrono_literals;
  const mz::logger log = mz::stderr_logger(mz::log_level::info);

  const mz::cancellation cancel{.token = {}, .deadline = mz::deadline::after(20ms)};
  log.log(mz::log_level::info, "example", "working", {{"cpus", mz::available_cpus()}});
  try {
    for (;;) cancel.check("the endless loop");
  } catch (const mz::error& e) {
    std::cout << mz::to_string(e.code()) << " -> " << e.what() << '\n';
    return e.code() == mz::errc::deadline_exceeded ? 0 : 1;
  }
}
