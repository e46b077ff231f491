// A server and a client of HTTP/1.1 in one program: the server echoes in coroutines on an event
// loop, the client blocks, and in the end the server drains.
#include <mizzen/http.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <iostream>
#include <thread>

namespace mz = mizzen;
namespace asio = boost::asio;

asio::awaitable<mz::http::response> echo(mz::http::request request) {
  co_return mz::http::make_response(200, "text/plain", request.method + " " + request.body);
}

int main() {
  using namespace std::chrono_literals;
  asio::io_context loop;
  // --8<-- [start:readme]
  mz::http::server server(loop.get_executor(), {.host = "127.0.0.1", .port = 0}, echo);
  std::thread thread([&] { loop.run(); });  // ends when the server has drained

  mz::http::blocking_client client;
  const mz::http::response answer = client.post(server.url() + "/echo", "text/plain", "hello");
  // --8<-- [end:readme]
  std::cout << server.url() << " says " << answer.status << ": " << answer.body << '\n';

  auto drained = asio::co_spawn(loop, server.drain(mz::deadline::after(10s)), asio::use_future);
  const bool all_answered = drained.get();
  thread.join();
  return answer.ok() && answer.body == "POST hello" && all_answered ? 0 : 1;
}
