// A port of a pod on this machine, until Ctrl-C: port_forward NAMESPACE POD PORT [LOCAL_PORT]
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/port_forward.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <charconv>
#include <csignal>
#include <cstring>
#include <iostream>

namespace mz = mizzen;

static std::uint16_t port_of(const char* text) {
  std::uint16_t port = 0;
  const char* const end = text + std::strlen(text);
  const auto number = std::from_chars(text, end, port);
  return number.ec == std::errc() && number.ptr == end ? port : std::uint16_t{0};
}

int main(int argc, char** argv) {
  const std::uint16_t port = argc > 3 ? port_of(argv[3]) : std::uint16_t{0};
  const std::uint16_t local = argc > 4 ? port_of(argv[4]) : std::uint16_t{0};  // 0: a free one
  if (port == 0 || (argc > 4 && local == 0)) {
    std::cerr << "usage: port_forward NAMESPACE POD PORT [LOCAL_PORT]\n";
    return 2;
  }
  try {
    // --8<-- [start:listen]
    boost::asio::io_context loop;
    const auto k8s = mz::kubernetes::client::from_environment(loop.get_executor());
    mz::kubernetes::port_forwarder forwarder(k8s, argv[1], argv[2], port, local);
    boost::asio::signal_set ended(loop, SIGINT, SIGTERM);
    ended.async_wait([&](const boost::system::error_code&, int) {
      forwarder.stop();
      loop.stop();
    });
    // --8<-- [end:listen]
    std::cout << "127.0.0.1:" << forwarder.local_port() << " leads to port " << port << " of "
              << argv[1] << "/" << argv[2] << std::endl;
    loop.run();
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
