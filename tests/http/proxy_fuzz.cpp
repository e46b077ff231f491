// Any text as the URL of a proxy, and any bytes as what a SOCKS5 proxy answers.
#include "http/proxy.hpp"

#include <mizzen/core/error.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mizzen::http::detail;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const proxy through = parse_proxy(text);
    if (through.host.empty() || through.port.empty()) std::abort();
    if (through.is_socks()) socks5(through, "host", 1).output();
  } catch (const mizzen::error&) {
  }
  proxy through;
  through.kind = proxy::scheme::socks5h;
  through.has_login = size % 2 == 0;
  through.user = "user";
  through.password = "password";
  socks5 machine(through, "host", 443);
  std::string_view rest = text;
  while (!machine.done() && !machine.failure()) {
    machine.output();
    const std::size_t wanted = machine.wanted();
    if (wanted == 0 || wanted > 257) std::abort();
    if (rest.size() < wanted) break;
    machine.put(rest.substr(0, wanted));
    rest.remove_prefix(wanted);
  }
  return 0;
}
